"""A graph in fp32 becomes one of mixed precision: every tensor's type is written in the file."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edge_ad.onnx_graph.wiring import FLOAT, HALF, GraphIndex, half_slots, index_graph

_LARGEST = 65504.0


def to_fp16(model: ModelProto, stay: Collection[int]) -> ModelProto:
    """A copy whose nodes compute in fp16, except those at the positions `stay`.

    Casts stand only where the precision changes, once a tensor; constants change in place.
    Inputs and outputs keep their types.
    """
    mixed = ModelProto()
    mixed.CopyFrom(model)
    return _Rewriting(mixed, stay).rewritten()


class _Rewriting:
    """One pass over the nodes in order, remembering which tensors exist in which type."""

    def __init__(self, model: ModelProto, stay: Collection[int]) -> None:
        self.model, self.stay = model, stay
        self.wiring: GraphIndex = index_graph(model)
        self.opsets = {one.domain: one.version for one in model.opset_import}
        self.native: dict[str, int] = {}  # tensors made so far, where it is not what it was
        self.copies: set[str] = set()  # constants and tensors that exist in a second type

    def rewritten(self) -> ModelProto:
        nodes = [new for index in range(len(self.wiring.nodes)) for new in self._node(index)]
        graph = self.model.graph
        del graph.node[:], graph.value_info[:]
        graph.node.extend(nodes)
        self._drop_unused_constants()
        return self.model

    def _node(self, index: int) -> Iterator[NodeProto]:
        """The node in its precision, after the casts it needs."""
        node, half = self.wiring.nodes[index], index not in self.stay
        takes, makes = half_slots(node, self.opsets) or ([], [])
        for place, name in enumerate(node.input):
            if self.wiring.types.get(name) != FLOAT:
                continue
            wanted = HALF if half and takes[place] else FLOAT
            yield from self._cast(name, wanted)
            node.input[place] = self._name(name, wanted)
        if half:
            yield from self._make_half(node, makes)
        else:
            yield node

    def _make_half(self, node: NodeProto, makes: list[bool]) -> Iterator[NodeProto]:
        """The node with fp16 outputs; one that is an output of the graph is cast back."""
        if node.op_type == "Cast":
            _retarget(node)
        back = []
        for place, name in enumerate(node.output):
            if self.wiring.types.get(name) != FLOAT or not makes[place]:
                continue
            self.native[name] = HALF
            if name in self.wiring.outputs:
                node.output[place] = f"{name}.fp16"
                back.append(_cast_node(f"{name}.fp16", name, FLOAT))
                self.native[name] = FLOAT
        yield node
        yield from back

    def _cast(self, name: str, wanted: int) -> Iterator[NodeProto]:
        """What brings a tensor into the wanted type, if that was not done before."""
        own = self._name(name, wanted)
        if own == name or own in self.copies:
            return
        self.copies.add(own)
        if name in self.wiring.constants:
            self.model.graph.initializer.append(_half_constant(self.wiring.constants[name], own))
        else:
            yield _cast_node(name, own, wanted)

    def _name(self, name: str, wanted: int) -> str:
        if self.native.get(name, FLOAT) == wanted:
            return name
        return f"{name}.{'fp16' if wanted == HALF else 'fp32'}"

    def _drop_unused_constants(self) -> None:
        graph = self.model.graph
        used = {name for node in graph.node for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)


def _cast_node(name: str, to_name: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [name], [to_name], f"cast_{to_name}", to=kind)


def _retarget(cast: NodeProto) -> None:
    for attribute in cast.attribute:
        if attribute.name == "to" and attribute.i == FLOAT:
            attribute.i = HALF


def _half_constant(tensor: TensorProto, name: str) -> TensorProto:
    """The constant in fp16; values beyond its range, such as masks of -1e9, become its largest."""
    values = numpy_helper.to_array(tensor).clip(-_LARGEST, _LARGEST).astype(np.float16)
    return numpy_helper.from_array(values, name)
