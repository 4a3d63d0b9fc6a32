"""What an ONNX graph is made of: operators, weights by type, arithmetic. Needs the package onnx."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import onnx

from edge_ad.onnx_graph.load import load_onnx

Shapes: TypeAlias = dict[str, tuple[int, ...]]
_SHAPES = frozenset({"int64", "bool"})  # types of sizes and axes, which are no weights


def graph_facts(path: Path) -> dict[str, Any]:
    """Doors, versions, operator counts, weights by type, and arithmetic of one image.

    Raises IncompatibleError when the bytes are no ONNX.
    """
    model = load_onnx(path, check=False)
    graph = model.graph
    weights = Counter[str]()
    for tensor in graph.initializer:
        if (kind := _type(tensor.data_type)) not in _SHAPES:
            weights[kind] += math.prod(tensor.dims)
    return {
        "inputs": [_door(one) for one in graph.input],
        "outputs": [_door(one) for one in graph.output],
        "opset": {one.domain or "onnx": one.version for one in model.opset_import},
        "ir_version": model.ir_version,
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "operators": dict(Counter(node.op_type for node in graph.node).most_common()),
        "parameters": sum(weights.values()),
        "weights": dict(weights),
        "gflops": _gflops(model),
    }


def _door(value: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = value.type.tensor_type
    shape = [dim.dim_value or dim.dim_param or None for dim in kind.shape.dim]
    return {"name": value.name, "type": _type(kind.elem_type), "shape": shape}


def _gflops(model: onnx.ModelProto) -> float | None:
    """Arithmetic of one image in convolutions and matrix products, 2 for each multiply-add.

    None where shapes cannot be inferred.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError):
        return None
    shapes = _shapes(inferred.graph)
    counted = [_flops(node, shapes) for node in inferred.graph.node]
    if any(one is None for one in counted):
        return None
    batch = max(1, shapes.get(inferred.graph.input[0].name, (1,))[0])
    return round(sum(filter(None, counted)) / batch / 1e9, 4)


def _flops(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """2 x outputs x multiply-adds for each; 0 for other operators, None for unknown shapes."""
    if node.op_type not in _SUMMED:
        return 0
    sides = [shapes.get(name) for name in (node.input[0], node.input[1], node.output[0])]
    if any(side is None or 0 in side for side in sides):
        return None
    data, weights, out = (side or () for side in sides)
    sums: int = _SUMMED[node.op_type](data, weights, out)
    return 2 * sums


_SUMMED = {
    "Conv": lambda data, weights, out: math.prod(out) * math.prod(weights[1:]),
    "ConvTranspose": lambda data, weights, out: math.prod(data) * math.prod(weights[1:]),
    "MatMul": lambda data, weights, out: math.prod(out) * data[-1],
    "Gemm": lambda data, weights, out: math.prod(out) * math.prod(weights) // out[-1],
}


def _shapes(graph: onnx.GraphProto) -> Shapes:
    """Shapes of all tensors; a free dimension, which is the batch, counts as 1."""
    values: Iterable[onnx.ValueInfoProto] = (*graph.input, *graph.value_info, *graph.output)
    known = {
        value.name: tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
    return known | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def _type(number: int) -> str:
    name = str(onnx.TensorProto.DataType.Name(number)).lower()
    return {"float": "fp32", "float16": "fp16", "bfloat16": "bf16"}.get(name, name)
