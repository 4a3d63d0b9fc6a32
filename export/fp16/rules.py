"""Which nodes of a graph stay in fp32 when the rest becomes fp16, and why.

The rules hold for anomaly detectors (and any graph): what cannot be said with 11 bits or leaves
fp16's range keeps its 24 bits; convolutions and matrix products, where the time goes, change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from edge_ad.onnx_graph.wiring import FLOAT, GraphIndex, half_slots

Reasons: TypeAlias = dict[int, str]
"""Node position -> why it stays in fp32."""

TYPE = "no fp16 form of this operator"
FRONT = "pixels and their normalisation, before the first layer"
BACK = "last layer, map and score"
NORM = "norm, mean, root, power or quotient"
EXPONENT = "exponential or logarithm"
DIFFERENCE = "difference of values that may be nearly equal"
IMAGE = "images and maps: few channels, fine differences"
JOINED = "one elementwise step beside such a node"
BETWEEN = "between nodes in fp32"

_KINDS = {
    NORM: (
        "Div Sqrt Reciprocal Pow ReduceMean ReduceSum ReduceProd ReduceL1 ReduceL2 ReduceSumSquare "
        "LpNormalization LpPool GlobalAveragePool GlobalLpPool LayerNormalization "
        "InstanceNormalization GroupNormalization MeanVarianceNormalization CumSum"
    ),
    EXPONENT: "Exp Log Softmax LogSoftmax ReduceLogSum ReduceLogSumExp Softplus",
    DIFFERENCE: "Sub",
    BACK: "TopK",
}
_KIND_OF = {kind: why for why, kinds in _KINDS.items() for kind in kinds.split()}
_FEW = 8  # channels: an image beside its restoration has six
_ACTIVATIONS = frozenset({"Relu", "LeakyRelu", "PRelu", "Elu", "Gelu", "HardSwish", "Mish"})
_JOINS = frozenset({"Mul", "Div", "Neg", "Abs", "Add", "Sum", "Clip", "Min", "Max"})


def places(wiring: GraphIndex, opsets: dict[str, int]) -> Reasons:
    """The nodes that structure alone keeps in fp32; ranges may add to them."""
    reasons: Reasons = dict.fromkeys(_without_half(wiring, opsets), TYPE)
    for index in _front(wiring):
        reasons.setdefault(index, FRONT)
    for index, node in enumerate(wiring.nodes):
        if node.op_type in _KIND_OF and not _only_scales(wiring, index):
            reasons.setdefault(index, _KIND_OF[node.op_type])
    for index in _back(wiring):
        reasons.setdefault(index, BACK)
    for index in _images(wiring):
        reasons.setdefault(index, IMAGE)
    _join(wiring, reasons)
    return close_gaps(wiring, reasons)


def close_gaps(wiring: GraphIndex, reasons: Reasons) -> Reasons:
    """Add nodes whose neighbours all stay in fp32: casts there would only lose bits."""
    for index in range(len(wiring.nodes)):
        if index in reasons or wiring.has_weights(index):
            continue
        around = {*wiring.around(index)}
        if around and around <= reasons.keys():
            reasons[index] = BETWEEN
    return reasons


def _without_half(wiring: GraphIndex, opsets: dict[str, int]) -> Iterator[int]:
    """Nodes with a float output that their operator cannot give, or knows nothing of, in fp16."""
    for index, node in enumerate(wiring.nodes):
        slots = half_slots(node, opsets)
        floats = [wiring.types.get(name) == FLOAT for name in node.output]
        if slots is None or any(f and not half for f, half in zip(floats, slots[1], strict=True)):
            yield index


def _front(wiring: GraphIndex) -> Iterator[int]:
    """Nodes between the inputs and the first layers."""
    starts = [taker for name in wiring.inputs for taker in wiring.takers.get(name, ())]
    reached = _walk(starts, wiring.after, stop=wiring.has_weights)
    return (index for index in reached if not wiring.has_weights(index))


def _images(wiring: GraphIndex) -> Iterator[int]:
    """Layers that see an image or make one, or a map, and the steps between images.

    Where nothing is wrong a restoration differs from its image by less than 11 bits can say, and
    what a first layer rounds goes through all that follows. There is little to compute in them.
    """

    def stop(index: int) -> bool:
        return wiring.has_weights(index) or not _few(wiring, wiring.nodes[index].output)

    layers = [
        index
        for index, node in enumerate(wiring.nodes)
        if wiring.has_weights(index)
        if _few(wiring, node.input) or _few(wiring, node.output)
    ]
    yield from layers
    beside = (near for index in layers for near in wiring.around(index))
    sides = _walk(beside, wiring.around, stop=stop)
    yield from (index for index in sides if not stop(index))


def _few(wiring: GraphIndex, names: Iterable[str]) -> bool:
    """Whether all these tensors that are computed are images or maps."""
    counts = [wiring.channels[name] for name in names if name in wiring.channels]
    return bool(counts) and max(counts) <= _FEW


def _back(wiring: GraphIndex) -> Iterator[int]:
    """Nodes between the last layers and the outputs, and the last layer where there is one.

    A residual block's activation ends the way back as a layer does: through its shortcut the
    blocks before it would stay in fp32 as well.
    """

    def stop(index: int) -> bool:
        return wiring.has_weights(index) or _ends_block(wiring, index)

    ends = [wiring.maker[name] for name in wiring.outputs if name in wiring.maker]
    reached = list(_walk(ends, wiring.before, stop=stop))
    yield from (index for index in reached if not stop(index))
    layers = [index for index in reached if wiring.has_weights(index)]
    if len(layers) == 1:
        yield layers[0]


def _walk(
    starts: Iterable[int], near: Callable[[int], Iterator[int]], stop: Callable[[int], bool]
) -> Iterator[int]:
    """Nodes reached from `starts`, the nodes that stop the walk among them."""
    todo, seen = list(starts), set[int]()
    while todo:
        index = todo.pop()
        if index in seen:
            continue
        seen.add(index)
        yield index
        if not stop(index):
            todo += near(index)


def _ends_block(wiring: GraphIndex, index: int) -> bool:
    """Whether this is the activation after the sum of a residual block."""
    return wiring.nodes[index].op_type in _ACTIVATIONS and any(
        wiring.nodes[before].op_type == "Add" and _computed(wiring, before) > 1
        for before in wiring.before(index)
    )


def _join(wiring: GraphIndex, reasons: Reasons) -> None:
    """Let fp32 spread over elementwise neighbours: a square before a sum, a product after a root.

    They share one kernel with it anyway. Additions of two computed tensors end the spread, or
    residual networks would stay in fp32 as a whole.
    """
    todo = [index for index, why in reasons.items() if why in (NORM, EXPONENT, DIFFERENCE)]
    while todo:
        index = todo.pop()
        for near in wiring.around(index):
            if near not in reasons and _joins(wiring, near):
                reasons[near] = JOINED
                todo.append(near)


def _only_scales(wiring: GraphIndex, index: int) -> bool:
    """Whether this is a quotient by a constant, which rounds as a product does."""
    node = wiring.nodes[index]
    return node.op_type == "Div" and node.input[1] in wiring.constants


def _joins(wiring: GraphIndex, index: int) -> bool:
    node = wiring.nodes[index]
    if node.op_type not in _JOINS:
        return False
    return _computed(wiring, index) < 2 or node.op_type == "Mul"


def _computed(wiring: GraphIndex, index: int) -> int:
    """How many of a node's inputs are no constants."""
    return sum(bool(n) and n not in wiring.constants for n in wiring.nodes[index].input)
