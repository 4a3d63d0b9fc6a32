"""Weights stored in 8 bits: a file a quarter as large that still computes in fp32.

This is no INT8 inference (that needs calibrated activations): a runtime multiplies the weights out
once, when it loads the file, and is then as fast and as exact as with the same weights in fp32.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

LEVELS = 127  # symmetric: -127..127, zero is exact
SMALLEST = 1024  # elements; below, a scale and two nodes cost about what the bytes save
_CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1}


def rounded(module: nn.Module) -> nn.Module:
    """A copy of the module whose convolutions hold what 8 bits a weight can say.

    Every output channel has its own step, its largest weight over 127. Folding a batch norm into
    the convolution scales whole channels, so the exported weights stay on such a grid.
    """
    module = copy.deepcopy(module)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.copy_(_on_grid(part.weight, axis=0))
            elif isinstance(part, nn.ConvTranspose2d) and part.groups == 1:
                part.weight.copy_(_on_grid(part.weight, axis=1))
    return module


def store_in_8_bits(model: onnx.ModelProto) -> int:
    """Replace the weights of an ONNX graph's convolutions by int8, scale, Cast and Mul, in place.

    Plain Cast and Mul rather than DequantizeLinear, which runtimes keep as the sign of a quantized
    convolution. Weights off their channel's grid stay as they are. Answers how many changed.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes, changed = [], set()
    for name, axis in _convolution_weights(graph):
        if name in changed or name not in weights:
            continue
        values = numpy_helper.to_array(weights[name])
        if values.dtype != np.float32 or values.size < SMALLEST or not _is_on_grid(values, axis):
            continue
        graph.initializer.remove(weights[name])
        nodes += _stored(graph, name, values, axis)
        changed.add(name)
    later = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *later])
    return len(changed)


def multiply_out(model: onnx.ModelProto) -> int:
    """Undo `store_in_8_bits` in place, for TensorRT, which refuses int8 before a plain Cast.

    Answers how many weights are fp32 again.
    """
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    scaled = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "Mul" and {f"{node.output[0]}.int8", node.input[1]} <= stored.keys()
    }
    for name in scaled:
        parts = [stored[f"{name}.int8"], stored[f"{name}.scale"]]
        whole, scale = (numpy_helper.to_array(part) for part in parts)
        graph.initializer.append(numpy_helper.from_array(whole.astype(np.float32) * scale, name))
        for part in parts:
            graph.initializer.remove(part)
    gone = {*scaled, *(f"{name}.float" for name in scaled)}
    kept = [node for node in graph.node if not gone & set(node.output)]
    del graph.node[:]
    graph.node.extend(kept)
    return len(scaled)


def _convolution_weights(graph: onnx.GraphProto) -> Iterator[tuple[str, int]]:
    for node in graph.node:
        if node.op_type in _CHANNEL_AXIS:
            yield node.input[1], _CHANNEL_AXIS[node.op_type]


def _stored(
    graph: onnx.GraphProto, name: str, values: NDArray[np.float32], axis: int
) -> list[onnx.NodeProto]:
    """Add both initializers; answer the two nodes that make the weights again."""
    scale = _steps(values, axis)
    whole = np.rint(values / scale).astype(np.int8)
    graph.initializer.append(numpy_helper.from_array(whole, f"{name}.int8"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
    floats = f"{name}.float"
    return [
        onnx.helper.make_node("Cast", [f"{name}.int8"], [floats], f"cast_{name}", to=1),
        onnx.helper.make_node("Mul", [floats, f"{name}.scale"], [name], f"scale_{name}"),
    ]


def _is_on_grid(values: NDArray[np.float32], axis: int) -> bool:
    """Whether 8 bits say all there is: at most a thousandth of a step is lost to rounding."""
    whole = values / _steps(values, axis)
    return bool(np.abs(whole - np.rint(whole)).max() < 1e-3)


def _steps(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    others = tuple(i for i in range(values.ndim) if i != axis)
    largest = np.abs(values).max(axis=others, keepdims=True)
    return np.where(largest > 0, largest / LEVELS, 1.0).astype(np.float32)


def _on_grid(weight: Tensor, axis: int) -> Tensor:
    step = torch.from_numpy(_steps(weight.detach().numpy(), axis))
    return torch.round(weight / step) * step
