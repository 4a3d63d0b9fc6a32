"""Rewrite an fp32 graph in mixed precision, with every tensor's type written in the file."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edge_ad.export.fp16.rules import fp16_support
from edge_ad.onnx_graph.index import GraphIndex
from edge_ad.onnx_graph.simplify import drop_unused_constants

FP32, FP16 = TensorProto.FLOAT, TensorProto.FLOAT16
_LARGEST = 65504.0


def to_fp16(graph: GraphIndex, in_fp32: Collection[str]) -> ModelProto:
    """Return a copy whose nodes compute in fp16, except those named in `in_fp32`.

    Casts stand only where the precision changes, once a tensor; constants change in place.
    Inputs and outputs keep their types.
    """
    mixed = ModelProto()
    mixed.CopyFrom(graph.model)
    nodes = list(_Rewriter(graph, in_fp32, mixed).nodes())
    del mixed.graph.node[:], mixed.graph.value_info[:]
    mixed.graph.node.extend(nodes)
    drop_unused_constants(mixed.graph)
    return mixed


class _Rewriter:
    """Walks the nodes of `mixed` in order, remembering which tensors exist in which type."""

    def __init__(self, graph: GraphIndex, in_fp32: Collection[str], mixed: ModelProto) -> None:
        self.graph, self.in_fp32, self.mixed = graph, in_fp32, mixed
        self.types = graph.tensor_types.types
        self.native: dict[str, int] = {}  # types of tensors made so far, where they have changed
        self.copies: set[str] = set()  # constants and tensors that exist in a second type

    def nodes(self) -> Iterator[NodeProto]:
        """Yield every node in its precision, after the casts it needs."""
        for node in self.mixed.graph.node:
            support = fp16_support(node, self.graph.opsets)
            is_fp16 = node.name not in self.in_fp32
            inputs, outputs = support or ([], [])
            yield from self._cast_inputs(node, inputs if is_fp16 else [False] * len(node.input))
            if is_fp16:
                yield from self._with_fp16_outputs(node, outputs)
            else:
                yield node

    def _cast_inputs(self, node: NodeProto, in_fp16: list[bool]) -> Iterator[NodeProto]:
        for position, name in enumerate(node.input):
            if self.types.get(name) == FP32:
                expected = FP16 if in_fp16[position] else FP32
                yield from self._cast(name, expected)
                node.input[position] = self._name(name, expected)

    def _with_fp16_outputs(self, node: NodeProto, in_fp16: list[bool]) -> Iterator[NodeProto]:
        """Yield the node with fp16 outputs; an output of the graph is cast back."""
        if node.op_type == "Cast":
            _retarget(node)
        back = []
        for position, name in enumerate(node.output):
            if self.types.get(name) != FP32 or not in_fp16[position]:
                continue
            self.native[name] = FP16
            if name in self.graph.outputs:
                node.output[position] = f"{name}.fp16"
                back.append(_cast_node(f"{name}.fp16", name, FP32))
                self.native[name] = FP32
        yield node
        yield from back

    def _cast(self, name: str, expected: int) -> Iterator[NodeProto]:
        """Bring a tensor into the expected type, if that was not done before."""
        own = self._name(name, expected)
        if own == name or own in self.copies:
            return
        self.copies.add(own)
        if name in self.graph.constants:
            constant = _fp16_constant(self.graph.constants[name], own)
            self.mixed.graph.initializer.append(constant)
        else:
            yield _cast_node(name, own, expected)

    def _name(self, name: str, expected: int) -> str:
        if self.native.get(name, FP32) == expected:
            return name
        return f"{name}.{'fp16' if expected == FP16 else 'fp32'}"


def _cast_node(name: str, to_name: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [name], [to_name], f"cast_{to_name}", to=kind)


def _retarget(cast: NodeProto) -> None:
    for attribute in cast.attribute:
        if attribute.name == "to" and attribute.i == FP32:
            attribute.i = FP16


def _fp16_constant(values: NDArray[np.generic], name: str) -> TensorProto:
    """Return the constant in fp16; values beyond its range, such as masks of -1e9, are clipped."""
    clipped = np.asarray(values, np.float32).clip(-_LARGEST, _LARGEST)
    return numpy_helper.from_array(clipped.astype(np.float16), name)
