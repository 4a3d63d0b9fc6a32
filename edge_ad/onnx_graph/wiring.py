"""Who makes and who takes each tensor of an ONNX graph, and of what type it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx
import onnx.inliner
from onnx import GraphProto, ModelProto, NodeProto, TensorProto
from onnx.defs import OpSchema

from edge_ad.errors import IncompatibleError

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


@dataclass(frozen=True)
class GraphIndex:
    """A graph's nodes by position, and its tensors by name.

    `types` are ONNX element types, `channels` those of computed tensors (N, C, H, W), `constants`
    the initializers; `takers` may name a node twice.
    """

    nodes: tuple[NodeProto, ...]
    types: dict[str, int]
    channels: dict[str, int]
    constants: dict[str, TensorProto]
    maker: dict[str, int]
    takers: dict[str, list[int]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def before(self, index: int) -> Iterator[int]:
        """Nodes that make what this one takes."""
        return (self.maker[name] for name in self.nodes[index].input if name in self.maker)

    def after(self, index: int) -> Iterator[int]:
        """Nodes that take what this one makes."""
        return (taker for name in self.nodes[index].output for taker in self.takers.get(name, ()))

    def around(self, index: int) -> Iterator[int]:
        """Nodes on both sides of this one."""
        yield from self.before(index)
        yield from self.after(index)

    def has_weights(self, index: int) -> bool:
        """Whether this is a layer: a convolution or matrix product with constants."""
        node = self.nodes[index]
        return node.op_type in LAYERS and node.input[1] in self.constants


LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def index_graph(model: ModelProto) -> GraphIndex:
    """Read a flat graph's wiring.

    Raises IncompatibleError for a graph with branches or loops inside, or wrong in itself.
    """
    graph = model.graph
    _refuse_subgraphs(graph)
    takers: dict[str, list[int]] = defaultdict(list)
    for index, node in enumerate(graph.node):
        for name in filter(None, node.input):
            takers[name].append(index)
    types, channels = _types_and_channels(model)
    return GraphIndex(
        nodes=tuple(graph.node),
        types=types,
        channels=channels,
        constants={tensor.name: tensor for tensor in graph.initializer},
        maker={name: i for i, node in enumerate(graph.node) for name in filter(None, node.output)},
        takers=takers,
        inputs=tuple(value.name for value in graph.input),
        outputs=tuple(value.name for value in graph.output),
    )


def flattened(model: ModelProto) -> ModelProto:
    """A copy without local functions and Constant nodes: only operators, and constants by name."""
    model = onnx.inliner.inline_local_functions(model)
    graph = model.graph
    kept = [node for node in graph.node if not _lift(graph, node)]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
    return model


def half_slots(node: NodeProto, opsets: dict[str, int]) -> tuple[list[bool], list[bool]] | None:
    """Which inputs and outputs may be fp16 where they are fp32; None for an unknown operator.

    ONNX's own operator schemas decide: Resize, for one, takes its scales in fp32 alone.
    """
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets.get(node.domain, 1), node.domain)
    except onnx.defs.SchemaError:
        return None
    return (
        [_takes_half(schema, _at(schema.inputs, place)) for place in range(len(node.input))],
        [_takes_half(schema, _at(schema.outputs, place)) for place in range(len(node.output))],
    )


def label(node: NodeProto) -> str:
    """A node's name, or what it makes where it has none."""
    return node.name or f"{node.op_type}:{node.output[0]}"


def _at(slots: Sequence[OpSchema.FormalParameter], place: int) -> OpSchema.FormalParameter:
    return slots[min(place, len(slots) - 1)]  # the last one may repeat


def _takes_half(schema: OpSchema, slot: OpSchema.FormalParameter) -> bool:
    for constraint in schema.type_constraints:
        if constraint.type_param_str == slot.type_str:
            return "tensor(float16)" in constraint.allowed_type_strs
    return False


def _types_and_channels(model: ModelProto) -> tuple[dict[str, int], dict[str, int]]:
    try:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise IncompatibleError(f"the graph contradicts itself: {error}") from error
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    channels = {
        value.name: dims[1].dim_value
        for value in values
        if len(dims := value.type.tensor_type.shape.dim) == 4 and dims[1].dim_value
    }
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}, channels


def _refuse_subgraphs(graph: GraphProto) -> None:
    for node in graph.node:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise IncompatibleError(
                f"node '{label(node)}' ({node.op_type}) holds a graph of its own. Expected a flat "
                "graph; export the network with fixed sizes and without branches."
            )


def _lift(graph: GraphProto, node: NodeProto) -> bool:
    """Turn a Constant node that holds a tensor into a named constant."""
    if node.op_type != "Constant" or node.attribute[0].name != "value":
        return False
    tensor = graph.initializer.add()
    tensor.CopyFrom(node.attribute[0].t)
    tensor.name = node.output[0]
    return True
