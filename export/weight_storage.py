"""Store weights in 8 bits: a file a quarter as large that still computes in fp32.

This is not INT8 inference (which needs calibrated activations): a runtime dequantizes the weights
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

from edge_ad.onnx_graph.stored_weights import multiplied_out

LEVELS = 127  # symmetric: -127..127, zero is exact
MIN_ELEMENTS = 1024  # below, a scale and two nodes cost about what the bytes save
_CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1}


def round_weights(module: nn.Module) -> nn.Module:
    """Return a copy of the module with convolution weights rounded to 8 bits.

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


def store_weights_as_int8(model: onnx.ModelProto) -> int:
    """Replace the weights of an ONNX graph's convolutions by int8, scale, Cast and Mul, in place.

    Plain Cast and Mul are used because runtimes take DequantizeLinear for a quantized convolution.
    Weights off their channel's grid stay as they are. Returns how many changed.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes, changed = [], set()
    for name, axis in _convolution_weights(graph):
        if name in changed or name not in weights:
            continue
        values = numpy_helper.to_array(weights[name])
        if (
            values.dtype != np.float32
            or values.size < MIN_ELEMENTS
            or not _is_on_grid(values, axis)
        ):
            continue
        graph.initializer.remove(weights[name])
        nodes += _store(graph, name, values, axis)
        changed.add(name)
    others = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *others])
    return len(changed)


def dequantize_weights(model: onnx.ModelProto) -> int:
    """Undo `store_weights_as_int8` in place, for TensorRT, which refuses int8 before a plain Cast.

    Returns how many weights are fp32 again.
    """
    data, count = multiplied_out(model.SerializeToString())
    if count:
        model.ParseFromString(data)
    return count


def _convolution_weights(graph: onnx.GraphProto) -> Iterator[tuple[str, int]]:
    for node in graph.node:
        if node.op_type in _CHANNEL_AXIS:
            yield node.input[1], _CHANNEL_AXIS[node.op_type]


def _store(
    graph: onnx.GraphProto, name: str, values: NDArray[np.float32], axis: int
) -> list[onnx.NodeProto]:
    """Add both initializers, and return the two nodes that compute the weights from them."""
    scale = _steps(values, axis)
    levels = np.rint(values / scale).astype(np.int8)
    graph.initializer.append(numpy_helper.from_array(levels, f"{name}.int8"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
    floats = f"{name}.float"
    return [
        onnx.helper.make_node("Cast", [f"{name}.int8"], [floats], f"cast_{name}", to=1),
        onnx.helper.make_node("Mul", [floats, f"{name}.scale"], [name], f"scale_{name}"),
    ]


def _is_on_grid(values: NDArray[np.float32], axis: int) -> bool:
    """Return whether rounding to 8 bits changes no weight by more than a thousandth of a step."""
    levels = values / _steps(values, axis)
    return bool(np.abs(levels - np.rint(levels)).max() < 1e-3)


def _steps(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    others = tuple(i for i in range(values.ndim) if i != axis)
    largest = np.abs(values).max(axis=others, keepdims=True)
    return np.where(largest > 0, largest / LEVELS, 1.0).astype(np.float32)


def _on_grid(weight: Tensor, axis: int) -> Tensor:
    step = torch.from_numpy(_steps(weight.detach().numpy(), axis))
    return torch.round(weight / step) * step
