"""Count an ONNX graph's operators, weights by type and arithmetic. Needs the package onnx."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import onnx

from edge_ad.onnx_graph.load import load_onnx

Shapes: TypeAlias = dict[str, tuple[int, ...]]
_SHAPE_TYPES = frozenset({"int64", "bool"})  # sizes and axes, not weights


def graph_facts(path: Path) -> dict[str, Any]:
    """Return inputs, outputs, versions, operator counts, weights by type and GFLOPs of one image.

    Raises IncompatibleError for a file that is not ONNX.
    """
    model = load_onnx(path, check=False)
    graph = model.graph
    weights = Counter[str]()
    for tensor in graph.initializer:
        if (name := _type_name(tensor.data_type)) not in _SHAPE_TYPES:
            weights[name] += math.prod(tensor.dims)
    return {
        "inputs": [_tensor(value) for value in graph.input],
        "outputs": [_tensor(value) for value in graph.output],
        "opset": {opset.domain or "onnx": opset.version for opset in model.opset_import},
        "ir_version": model.ir_version,
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "operators": dict(Counter(node.op_type for node in graph.node).most_common()),
        "parameters": sum(weights.values()),
        "weights": dict(weights),
        "gflops": _gflops(model),
    }


def _tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    tensor = value.type.tensor_type
    shape = [dim.dim_value or dim.dim_param or None for dim in tensor.shape.dim]
    return {"name": value.name, "type": _type_name(tensor.elem_type), "shape": shape}


def _gflops(model: onnx.ModelProto) -> float | None:
    """Return the GFLOPs of convolutions and matrix products for one image, 2 a multiply-add.

    Returns None where shapes cannot be inferred.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        shapes = _shapes(inferred.graph)
        counted = [_flops(node, shapes) for node in inferred.graph.node]
    except Exception:  # onnx raises many kinds on graphs that are not valid, or lists too few sides
        return None
    if any(flops is None for flops in counted):
        return None
    inputs = [shapes.get(value.name) for value in inferred.graph.input[:1]]
    batch = max(1, inputs[0][0] if inputs and inputs[0] else 1)
    return round(sum(filter(None, counted)) / batch / 1e9, 4)


def _flops(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """Return 2 x outputs x multiply-adds for each; 0 for other operators, None without shapes."""
    if node.op_type not in _MULTIPLY_ADDS:
        return 0
    sides = [shapes.get(name) for name in (node.input[0], node.input[1], node.output[0])]
    if any(side is None or 0 in side for side in sides):
        return None
    data, weights, out = (side or () for side in sides)
    multiply_adds: int = _MULTIPLY_ADDS[node.op_type](data, weights, out)
    return 2 * multiply_adds


_MULTIPLY_ADDS = {
    "Conv": lambda data, weights, out: math.prod(out) * math.prod(weights[1:]),
    "ConvTranspose": lambda data, weights, out: math.prod(data) * math.prod(weights[1:]),
    "MatMul": lambda data, weights, out: math.prod(out) * data[-1],
    "Gemm": lambda data, weights, out: math.prod(out) * math.prod(weights) // out[-1],
}


def _shapes(graph: onnx.GraphProto) -> Shapes:
    """Return the shapes of all tensors; an open dimension, which is the batch, counts as 1."""
    values: Iterable[onnx.ValueInfoProto] = (*graph.input, *graph.value_info, *graph.output)
    known = {
        value.name: tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
    return known | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def _type_name(number: int) -> str:
    if number not in onnx.TensorProto.DataType.values():
        return f"type {number}"
    name = str(onnx.TensorProto.DataType.Name(number)).lower()
    return {"float": "fp32", "float16": "fp16", "bfloat16": "bf16"}.get(name, name)
