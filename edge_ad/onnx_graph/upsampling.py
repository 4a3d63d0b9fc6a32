"""Compute the products of a convolution before the upsampling in front of it, on fewer pixels.

Interpolation mixes positions and a convolution's weights mix channels, so the two commute: a kernel
of 3x3 on an image enlarged twice multiplies four times the pixels that hold anything new. Instead
one 1x1 convolution computes the products of all nine taps on the small image, and two matrix
products, over rows and over columns, interpolate, shift and add them. Zero padding is in these
matrices. The result is the same up to rounding, with a quarter of the convolution's products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edge_ad.onnx_graph.convolution import integers, is_plain
from edge_ad.onnx_graph.index import GraphIndex, attribute
from edge_ad.onnx_graph.rewriting import Rewriting

Floats = NDArray[np.float32]
_ROWS, _COLUMNS = "/interpolate_rows", "/interpolate_columns"  # of names of matrices
_WORTH = 16  # input channels for each row or column of the small image, and
_FEWEST = 256  # input channels at least: with fewer nothing is gained; see docs/benchmarks.md
_SEPARABLE = (b"linear", b"nearest")
_LINEAR_COORDINATES = (b"align_corners", b"asymmetric", b"half_pixel", b"pytorch_half_pixel")


@dataclass(frozen=True)
class _Pair:
    """A Resize, the convolution that alone reads it, and the size that the Resize reads."""

    resize: NodeProto
    conv: NodeProto
    weight: Floats
    size_hw: tuple[int, int]


def products_before_upsampling(graph: GraphIndex) -> GraphIndex:
    """Return the graph with every convolution rewritten for which that saves time on a CPU."""
    pairs = {pair.conv.name: pair for pair in _pairs(graph)}
    if not pairs:
        return graph
    resizes = {pair.resize.name for pair in pairs.values()}
    new = Rewriting(graph)
    writer = _Writer(new, graph)
    for node in graph.model.graph.node:
        if node.name in pairs:
            writer.rewrite(pairs[node.name])
        elif node.name not in resizes:
            new.keep(node)
    return new.finish()


def is_interpolation(node: NodeProto) -> bool:
    """Return whether a node is one of the matrix products that interpolate."""
    matrices = [name for name in node.input if _ROWS in name or _COLUMNS in name]
    return node.op_type == "MatMul" and bool(matrices)


def _pairs(graph: GraphIndex) -> Iterator[_Pair]:
    """Yield the convolutions behind an upsampling whose rewriting saves time."""
    sizes = _sizes(graph.model)
    for conv in graph.nodes.values():
        weight = graph.weight_of(conv)
        resize = graph.producers.get(conv.input[0]) if conv.op_type == "Conv" else None
        if resize is None or weight is None or weight.ndim != 4:
            continue
        if _is_plain_upsampling(graph, resize) and is_plain(graph, conv):
            size = sizes.get(resize.input[0], ())
            if _saves(weight, size):
                yield _Pair(resize, conv, weight, (size[0], size[1]))


def _saves(weight: Floats, size: tuple[int, ...]) -> bool:
    """Return whether float products over rows and columns cost less than what is saved.

    The saved int8 products grow with the channels, the float ones with the sides.
    """
    least = max(_FEWEST, _WORTH * max(size, default=0))
    return len(size) == 2 and min(weight.shape[2:]) > 1 and weight.shape[1] >= least


def _is_plain_upsampling(graph: GraphIndex, resize: NodeProto) -> bool:
    """Return whether one node alone reads a Resize that enlarges rows and columns twice."""
    scales = graph.constants.get(resize.input[2]) if len(resize.input) == 3 else None
    return (
        resize.op_type == "Resize"
        and scales is not None
        and scales.tolist() == [1, 1, 2, 2]
        and attribute(resize, "mode", b"nearest") in _SEPARABLE
        and attribute(resize, "coordinate_transformation_mode", b"half_pixel")
        in _LINEAR_COORDINATES
        and not attribute(resize, "antialias", 0)
        and len(graph.consumers_of(resize.output[0])) == 1
        and resize.output[0] not in graph.outputs
    )


class _Writer:
    """Write what takes the place of an upsampling and its convolution into the new graph."""

    def __init__(self, new: Rewriting, graph: GraphIndex) -> None:
        self._new, self._constants = new, graph.constants

    def rewrite(self, pair: _Pair) -> None:
        """Write the products on the small image, then their interpolation, then the bias.

        Channels stay last in memory, as int8 kernels have them: nothing is turned around.
        """
        (h, w), (channels, _, rows, columns) = pair.size_hw, pair.weight.shape
        top, left, bottom, right = integers(pair.conv, "pads", 0, count=4)
        by_row = _taps(pair.resize, h, rows, top, bottom)
        by_column = _taps(pair.resize, w, columns, left, right)
        high, wide = len(by_row), len(by_column)
        name = pair.conv.name
        x = self._new.node("Transpose", [self._products(pair)], name, perm=[0, 2, 3, 1])
        x = self._reshape(x, (0, h, w * columns, rows * channels), name)
        x = self._new.node("MatMul", [self._new.constant(by_column, name + _COLUMNS), x], name)
        x = self._reshape(x, (0, h, wide, rows, channels), name)
        x = self._new.node("Transpose", [x], name, perm=[0, 1, 3, 2, 4])
        x = self._reshape(x, (0, h * rows, wide * channels), name)
        x = self._new.node("MatMul", [self._new.constant(by_row, name + _ROWS), x], name)
        x = self._reshape(x, (0, high, wide, channels), name)
        x = self._new.node("Transpose", [x], name, perm=[0, 3, 1, 2])
        self._finish_conv(pair, x, (high, wide))

    def _products(self, pair: _Pair) -> str:
        """Write the 1x1 convolution: by column and row of its tap, then channel."""
        weight = pair.weight.transpose(3, 2, 0, 1).reshape(-1, pair.weight.shape[1], 1, 1)
        taps = self._new.constant(np.ascontiguousarray(weight), pair.conv.input[1])
        products = self._new.tensor(f"{pair.conv.output[0]}/products")
        self._new.keep(
            helper.make_node("Conv", [pair.resize.input[0], taps], [products], name=pair.conv.name)
        )
        return products

    def _finish_conv(self, pair: _Pair, x: str, size_hw: tuple[int, int]) -> None:
        """Give the sum, with the bias, the name of the convolution's output."""
        bias = np.zeros(len(pair.weight), np.float32)
        if len(pair.conv.input) > 2 and pair.conv.input[2]:
            bias = np.asarray(self._constants[pair.conv.input[2]], np.float32)
        per_channel = self._new.constant(bias.reshape(-1, 1, 1), f"{pair.conv.name}/bias")
        self._new.node("Add", [x, per_channel], pair.conv.name, pair.conv.output[0])

    def _reshape(self, tensor: str, shape: tuple[int, ...], name: str) -> str:
        sides = self._new.constant(np.array(shape, np.int64), f"{name}/shape")
        return self._new.node("Reshape", [tensor, sides], name)


def _taps(resize: NodeProto, side: int, taps: int, before: int, after: int) -> Floats:
    """Return the matrix (outputs, side * taps) that interpolates each tap, shifts it and adds."""
    enlarged = _interpolation(resize, side)
    padded = np.pad(enlarged, ((before, after), (0, 0)))
    outputs = len(padded) - taps + 1
    return np.stack([padded[tap : tap + outputs] for tap in range(taps)], -1).reshape(outputs, -1)


def _interpolation(resize: NodeProto, side: int) -> Floats:
    """Return the matrix (2 * side, side) by which a Resize enlarges one direction."""
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"])
    node.attribute.extend(resize.attribute)
    tensor = onnx.TensorProto.FLOAT
    x, y = (helper.make_tensor_value_info(name, tensor, None) for name in "xy")
    scales = numpy_helper.from_array(np.array([1, 2], np.float32), "scales")
    graph = helper.make_graph([node], "resize", [x], [y], [scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    (rows,) = ReferenceEvaluator(model).run(None, {"x": np.eye(side, dtype=np.float32)})
    return np.ascontiguousarray(np.asarray(rows, np.float32).T)


def _sizes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Return height and width of the (N, C, H, W) tensors where both are known."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.value_info)
    sides = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    return {name: tuple(s[2:]) for name, s in sides.items() if len(s) == 4 and all(s[2:])}
