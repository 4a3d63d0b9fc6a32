"""Decide which nodes of a graph stay in fp32 when the rest becomes fp16, and why.

Nodes whose values need more than fp16's 11 bits, or leave its range, keep their 24 bits.
Convolutions and matrix products, which take most of the time, change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import onnx
from onnx import NodeProto, TensorProto
from onnx.defs import OpSchema

from edge_ad.onnx_graph.index import GraphIndex

Reasons: TypeAlias = dict[str, str]
"""Node name -> why it stays in fp32."""

TYPE = "no fp16 form of this operator"
FRONT = "pixels and their normalisation, before the first layer"
BACK = "last layer, map and score"
NORM = "norm, mean, root, power or quotient"
EXPONENT = "exponential or logarithm"
DIFFERENCE = "difference of values that may be nearly equal"
IMAGE = "images and maps: few channels, fine differences"
JOINED = "elementwise step beside such a node"
BETWEEN = "between nodes in fp32"

_OPERATORS = {
    NORM: (
        "Div Sqrt Reciprocal Pow ReduceMean ReduceSum ReduceProd ReduceL1 ReduceL2 ReduceSumSquare "
        "LpNormalization LpPool GlobalAveragePool GlobalLpPool LayerNormalization "
        "InstanceNormalization GroupNormalization MeanVarianceNormalization CumSum"
    ),
    EXPONENT: "Exp Log Softmax LogSoftmax ReduceLogSum ReduceLogSumExp Softplus",
    DIFFERENCE: "Sub",
    BACK: "TopK",
}
_REASON_OF = {operator: why for why, names in _OPERATORS.items() for operator in names.split()}
_FEW_CHANNELS = 8  # an image beside its restoration has six
_ACTIVATIONS = frozenset({"Relu", "LeakyRelu", "PRelu", "Elu", "Gelu", "HardSwish", "Mish"})
_JOINS = frozenset({"Mul", "Div", "Neg", "Abs", "Add", "Sum", "Clip", "Min", "Max"})


def fp16_support(node: NodeProto, opsets: dict[str, int]) -> tuple[list[bool], list[bool]] | None:
    """Return which inputs and outputs of a node may be fp16; None for an unknown operator.

    ONNX's operator schemas decide: the scales of Resize, for example, are always fp32.
    """
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets.get(node.domain, 1), node.domain)
    except onnx.defs.SchemaError:
        return None
    return (
        [_allows_fp16(schema, _parameter(schema.inputs, i)) for i in range(len(node.input))],
        [_allows_fp16(schema, _parameter(schema.outputs, i)) for i in range(len(node.output))],
    )


def structural_reasons(graph: GraphIndex) -> Reasons:
    """Return the nodes that the graph's structure alone keeps in fp32; ranges may add to them."""
    reasons: Reasons = {node.name: TYPE for node in _without_fp16(graph)}
    for node in _front(graph):
        reasons.setdefault(node.name, FRONT)
    for node in graph.nodes.values():
        if node.op_type in _REASON_OF and not _only_scales(graph, node):
            reasons.setdefault(node.name, _REASON_OF[node.op_type])
    for node in _back(graph):
        reasons.setdefault(node.name, BACK)
    for node in _images(graph):
        reasons.setdefault(node.name, IMAGE)
    _join(graph, reasons)
    return close_gaps(graph, reasons)


def close_gaps(graph: GraphIndex, reasons: Reasons) -> Reasons:
    """Add nodes whose neighbours all stay in fp32, where casts would only lose bits."""
    for node in graph.nodes.values():
        if node.name in reasons or graph.has_weights(node):
            continue
        neighbours = {neighbour.name for neighbour in graph.neighbours(node)}
        if neighbours and neighbours <= reasons.keys():
            reasons[node.name] = BETWEEN
    return reasons


def _parameter(
    parameters: Sequence[OpSchema.FormalParameter], position: int
) -> OpSchema.FormalParameter:
    return parameters[min(position, len(parameters) - 1)]  # the last one may repeat


def _allows_fp16(schema: OpSchema, parameter: OpSchema.FormalParameter) -> bool:
    for constraint in schema.type_constraints:
        if constraint.type_param_str == parameter.type_str:
            return "tensor(float16)" in constraint.allowed_type_strs
    return False


def _without_fp16(graph: GraphIndex) -> Iterator[NodeProto]:
    """Yield nodes of unknown operators, or with a float output that cannot be fp16."""
    types = graph.tensor_types.types
    for node in graph.nodes.values():
        support = fp16_support(node, graph.opsets)
        floats = [types.get(name) == TensorProto.FLOAT for name in node.output]
        if support is None or any(f and not ok for f, ok in zip(floats, support[1], strict=True)):
            yield node


def _front(graph: GraphIndex) -> Iterator[NodeProto]:
    """Yield the nodes between the inputs and the first layers."""
    starts = [node for name in graph.inputs for node in graph.consumers_of(name)]
    reached = _walk(starts, graph.after, stop=graph.has_weights)
    return (node for node in reached if not graph.has_weights(node))


def _images(graph: GraphIndex) -> Iterator[NodeProto]:
    """Yield layers that read or write an image or map, and the steps between images.

    On normal parts a restoration differs from its image by less than 11 bits can represent, and
    what a first layer rounds affects every later one. These layers cost little time.
    """

    def stop(node: NodeProto) -> bool:
        return graph.has_weights(node) or not _few_channels(graph, node.output)

    layers = [
        node
        for node in graph.nodes.values()
        if graph.has_weights(node)
        if _few_channels(graph, node.input) or _few_channels(graph, node.output)
    ]
    yield from layers
    beside = (neighbour for node in layers for neighbour in graph.neighbours(node))
    sides = _walk(beside, graph.neighbours, stop=stop)
    yield from (node for node in sides if not stop(node))


def _few_channels(graph: GraphIndex, names: Iterable[str]) -> bool:
    """Return whether all the computed tensors among these are images or maps."""
    channels = graph.tensor_types.channels
    counts = [channels[name] for name in names if name in channels]
    return bool(counts) and max(counts) <= _FEW_CHANNELS


def _back(graph: GraphIndex) -> Iterator[NodeProto]:
    """Yield the nodes between the last layers and the outputs, and the last layer if just one.

    The activation that ends a residual block stops the walk as a layer does: through its shortcut
    the blocks before it would stay in fp32 as well.
    """

    def stop(node: NodeProto) -> bool:
        return graph.has_weights(node) or _ends_block(graph, node)

    ends = [graph.producers[name] for name in graph.outputs if name in graph.producers]
    reached = list(_walk(ends, graph.before, stop=stop))
    yield from (node for node in reached if not stop(node))
    layers = [node for node in reached if graph.has_weights(node)]
    if len(layers) == 1:
        yield layers[0]


def _walk(
    starts: Iterable[NodeProto],
    adjacent: Callable[[NodeProto], Iterator[NodeProto]],
    stop: Callable[[NodeProto], bool],
) -> Iterator[NodeProto]:
    """Yield the nodes reached from `starts`, including those that stop the walk."""
    waiting, visited = list(starts), set[str]()
    while waiting:
        node = waiting.pop()
        if node.name in visited:
            continue
        visited.add(node.name)
        yield node
        if not stop(node):
            waiting += adjacent(node)


def _ends_block(graph: GraphIndex, node: NodeProto) -> bool:
    """Return whether this is the activation after the sum of a residual block."""
    return node.op_type in _ACTIVATIONS and any(
        before.op_type == "Add" and _computed(graph, before) > 1 for before in graph.before(node)
    )


def _join(graph: GraphIndex, reasons: Reasons) -> None:
    """Extend fp32 to elementwise neighbours: a square before a sum, a product after a root.

    They run in one kernel with it anyway. Additions of two computed tensors end this, or residual
    networks would stay in fp32 as a whole.
    """
    waiting = [name for name, why in reasons.items() if why in (NORM, EXPONENT, DIFFERENCE)]
    while waiting:
        for neighbour in graph.neighbours(graph.nodes[waiting.pop()]):
            if neighbour.name not in reasons and _joins(graph, neighbour):
                reasons[neighbour.name] = JOINED
                waiting.append(neighbour.name)


def _only_scales(graph: GraphIndex, node: NodeProto) -> bool:
    """Return whether this is a quotient by a constant, which rounds as a product does."""
    return node.op_type == "Div" and node.input[1] in graph.constants


def _joins(graph: GraphIndex, node: NodeProto) -> bool:
    if node.op_type not in _JOINS:
        return False
    return _computed(graph, node) < 2 or node.op_type == "Mul"


def _computed(graph: GraphIndex, node: NodeProto) -> int:
    """Count a node's inputs that are not constants."""
    return sum(1 for _ in graph.computed_inputs(node))
