"""A mixed-precision graph as a GPU stores it, runnable on any CPU.

ONNX Runtime computes fp16 graphs in fp32 on a CPU and drops the roundings between its nodes, so
that its answers look better than a GPU's. Here every fp16 tensor is rounded where it is made.
Sums inside a layer stay in fp32, as on tensor cores.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edge_ad.onnx_graph.wiring import FLOAT, HALF, index_graph


def rounded_as_stored(model: ModelProto) -> ModelProto:
    """A copy in fp32 in which every tensor that was fp16 goes through fp16."""
    plain, types = ModelProto(), index_graph(model).types
    plain.CopyFrom(model)
    graph = plain.graph
    for tensor in graph.initializer:
        if tensor.data_type == HALF:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    nodes = [new for node in graph.node for new in _in_fp32(node, types)]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return plain


def _in_fp32(node: NodeProto, types: dict[str, int]) -> Iterator[NodeProto]:
    """The node with fp32 outputs, and a rounding after each that was fp16."""
    roundings = []
    for place, name in enumerate(node.output):
        if types.get(name) == HALF:
            node.output[place] = f"{name}.exact"
            roundings += [
                helper.make_node("Cast", [f"{name}.exact"], [f"{name}.stored"], to=HALF),
                helper.make_node("Cast", [f"{name}.stored"], [name], to=FLOAT),
            ]
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == HALF:
            attribute.i = FLOAT
    yield node
    yield from roundings
