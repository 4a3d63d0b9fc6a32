"""Rewrite convolutions of few filters, for which CPU kernels fill a vector with zeros.

A kernel of 3x3 with one filter computes 16 on a processor with AVX-512, as wide as its vectors.
One 1x1 convolution computes the products of all nine taps as nine filters instead; shifting and
adding them gives the same sum. In int8, ONNX Runtime has a fast kernel from 16 filters on, so
there filters of zeros are added, and their channels dropped again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from edge_ad.onnx_graph.convolution import integers, is_plain
from edge_ad.onnx_graph.index import FUSED, GraphIndex
from edge_ad.onnx_graph.rewriting import Rewriting

VECTOR = 16  # float32 of AVX-512; filters from which ONNX Runtime's int8 kernel takes the layer
_CHANNELS = 32  # of the input, at least: with fewer, shifting costs what is saved
_MOST_TAPS = 32  # of all filters: two vectors of products


def is_thin(graph: GraphIndex, node: NodeProto) -> bool:
    """Return whether a node is a plain convolution of several taps: few filters, many channels."""
    weight = graph.weight_of(node)
    return (
        node.op_type == "Conv"
        and weight is not None
        and weight.ndim == 4
        and weight.shape[0] < VECTOR
        and weight.shape[1] >= _CHANNELS
        and weight[0, 0].size > 1
        and is_plain(graph, node)
    )


def products_before_shifts(graph: GraphIndex, names: Iterable[str]) -> GraphIndex:
    """Return the graph with the thin ones of these convolutions as products, shifts and a sum."""
    return _rewritten(graph, names, _few_taps, _Writer.shift_products)


def fill_vector(graph: GraphIndex, names: Iterable[str]) -> GraphIndex:
    """Return the graph with filters of zeros added to the thin ones of these convolutions.

    One with a Relu or Clip behind it stays: the two are one kernel.
    """
    return _rewritten(graph, names, _is_alone, _Writer.add_filters)


def _is_alone(graph: GraphIndex, node: NodeProto) -> bool:
    fused = any(reader.op_type in FUSED for reader in graph.after(node))
    return is_thin(graph, node) and not fused


def _few_taps(graph: GraphIndex, node: NodeProto) -> bool:
    weight = graph.weight_of(node)
    return is_thin(graph, node) and weight is not None and weight[:, 0].size <= _MOST_TAPS


def _rewritten(
    graph: GraphIndex,
    names: Iterable[str],
    fits: Callable[[GraphIndex, NodeProto], bool],
    write: Callable[[_Writer, NodeProto], None],
) -> GraphIndex:
    """Return the graph with `write` instead of each node of these names that fits."""
    chosen = {name for name in names if fits(graph, graph.nodes[name])}
    if not chosen:
        return graph
    new = Rewriting(graph)
    writer = _Writer(new, graph)
    for node in graph.model.graph.node:
        if node.name in chosen:
            write(writer, node)
        else:
            new.keep(node)
    return new.finish()


class _Writer:
    """Write what takes the place of a convolution into the new graph."""

    def __init__(self, new: Rewriting, graph: GraphIndex) -> None:
        self._new, self._graph = new, graph

    def shift_products(self, conv: NodeProto) -> None:
        """Write the products of every tap, tap by tap, then each shifted to its place, and a sum.

        Padding the products with zeros is the same as padding the image: no bias is in them yet.
        """
        weight = self._weight(conv)
        filters, channels, rows, columns = weight.shape
        taps = weight.transpose(2, 3, 0, 1).reshape(-1, channels, 1, 1)
        name = self._new.constant(np.ascontiguousarray(taps), conv.input[1])
        products = self._new.tensor(f"{conv.output[0]}/products")
        self._new.keep(helper.make_node("Conv", [conv.input[0], name], [products], name=conv.name))
        padded = self._pad(products, conv)
        sums = [
            self._shifted(padded, conv, filters, row, column)
            for row in range(rows)
            for column in range(columns)
        ]
        if len(conv.input) > 2 and conv.input[2]:
            bias = self._graph.constants[conv.input[2]].reshape(-1, 1, 1)
            sums.append(self._new.constant(bias, f"{conv.name}/bias"))
        self._new.node("Sum", sums, conv.name, conv.output[0])

    def add_filters(self, conv: NodeProto) -> None:
        """Write the convolution with a vector's filters, and keep the channels that it had."""
        filters = len(self._weight(conv))
        wide = NodeProto()
        wide.CopyFrom(conv)
        for position, name in enumerate(conv.input[1:], start=1):
            if name:
                value = self._graph.constants[name]
                more = [(0, VECTOR - filters)] + [(0, 0)] * (value.ndim - 1)
                wide.input[position] = self._new.constant(np.pad(value, more), name)
        wide.output[0] = self._new.tensor(f"{conv.output[0]}/filled")
        self._new.keep(wide)
        self._slice(wide.output[0], conv, [0], [filters], [1], conv.output[0])

    def _pad(self, tensor: str, conv: NodeProto) -> str:
        top, left, bottom, right = integers(conv, "pads", 0, count=4)
        sides = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
        inputs = [tensor, self._new.constant(sides, f"{conv.name}/pads")]
        return self._new.node("Pad", inputs, conv.name)

    def _shifted(self, padded: str, conv: NodeProto, filters: int, row: int, column: int) -> str:
        """Write the slice of a tap's products that falls on the output's pixels."""
        rows, columns = self._weight(conv).shape[2:]
        first = (row * columns + column) * filters
        starts = [first, row, column]
        ends = [first + filters, _end(row + 1 - rows), _end(column + 1 - columns)]
        return self._slice(padded, conv, starts, ends, [1, 2, 3])

    def _slice(
        self,
        tensor: str,
        conv: NodeProto,
        starts: list[int],
        ends: list[int],
        axes: list[int],
        output: str = "",
    ) -> str:
        inputs = [
            self._new.constant(np.array(values, np.int64), f"{conv.name}/{kind}")
            for kind, values in (("starts", starts), ("ends", ends), ("axes", axes))
        ]
        return self._new.node("Slice", [tensor, *inputs], conv.name, output)

    def _weight(self, conv: NodeProto) -> NDArray[np.float32]:
        weight = self._graph.weight_of(conv)
        assert weight is not None
        return weight


def _end(from_end: int) -> int:
    """Return a slice's end that leaves out as many as are negative here, none for 0."""
    return from_end if from_end < 0 else np.iinfo(np.int64).max
