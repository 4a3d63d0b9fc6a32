"""Simulate on any CPU how a GPU stores the tensors of a mixed-precision graph.

ONNX Runtime computes fp16 graphs in fp32 on a CPU and skips the roundings between nodes, so that
its outputs look better than a GPU's. Here every fp16 tensor is rounded where it is computed.
Sums inside a layer stay in fp32, as on tensor cores.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edge_ad.export.fp16.rewrite import FP16, FP32
from edge_ad.onnx_graph.index import infer_types


def rounded_as_stored(model: ModelProto) -> ModelProto:
    """Return a copy in fp32 in which every tensor that was fp16 is rounded to fp16."""
    plain, types = ModelProto(), infer_types(model).types
    plain.CopyFrom(model)
    graph = plain.graph
    for tensor in graph.initializer:
        if tensor.data_type == FP16:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    nodes = [new for node in graph.node for new in _in_fp32(node, types)]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return plain


def _in_fp32(node: NodeProto, types: dict[str, int]) -> Iterator[NodeProto]:
    """Yield the node with fp32 outputs, and a rounding after each that was fp16."""
    roundings = []
    for position, name in enumerate(node.output):
        if types.get(name) == FP16:
            node.output[position] = f"{name}.exact"
            roundings += [
                helper.make_node("Cast", [f"{name}.exact"], [f"{name}.stored"], to=FP16),
                helper.make_node("Cast", [f"{name}.stored"], [name], to=FP32),
            ]
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FP16:
            attribute.i = FP32
    yield node
    yield from roundings
