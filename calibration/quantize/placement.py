"""Where Q/DQ pairs go, and why: one decision with its rule for every node of a graph.

The rules follow NVIDIA's guidance for explicit quantization (what fuses into int8 kernels) and the
node units that ONNX Runtime's CPU provider fuses; see docs/int8.md for the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import onnx

from edge_ad.errors import UsageError
from edge_ad.onnx_graph.index import WEIGHTED, Edge, GraphIndex, attribute

Target = Literal["tensorrt", "onnxruntime"]
TARGETS: tuple[Target, ...] = ("tensorrt", "onnxruntime")
FEW = 16  # channels; below, int8 kernels pad to 16 or 32 and gain nothing (NVIDIA ModelOpt's limit)

_KEEPS_SCALE = frozenset({"Concat", "MaxPool", "Reshape", "Transpose", "Slice", "Flatten",
                          "Squeeze", "Unsqueeze", "Identity"})  # fmt: skip
_RIDES = _KEEPS_SCALE | {"Relu", "Clip", "Split", "Gather", "DepthToSpace"}
_POOLS = frozenset({"GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax"})
_NORMS = frozenset({"Softmax", "LogSoftmax", "Exp", "Log", "Sqrt", "Reciprocal", "Div", "Pow",
                    "ReduceSum", "ReduceL2", "LayerNormalization", "InstanceNormalization",
                    "BatchNormalization", "GroupNormalization", "LpNormalization", "Erf",
                    "Tanh"})  # fmt: skip
_HEADS = frozenset({"Sigmoid", "TopK", "ArgMax", "ReduceMax"})


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one node. `block` is the module its weights came from, empty without."""

    node: str
    op: str
    block: str
    int8: bool
    rule: str


@dataclass(frozen=True, slots=True)
class PlacementOverrides:
    """What was asked for on top of the rules.

    `include` and `exclude` are operators or regular expressions for names; `include` overrules the
    rules that keep a node in float, `exclude` overrules `include`. `float_blocks` the gate returned
    to float; `silent` tensors were zero on every image, so that nobody knows their range.
    """

    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    float_blocks: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Placement:
    """The edges that read quantized values, the weights to store as int8, and every decision.

    `weights` maps an edge to the axis of its channels; `groups` are tensors that share a range.
    """

    target: Target
    edges: frozenset[Edge]
    weights: dict[Edge, int]
    decisions: tuple[Decision, ...]
    groups: tuple[frozenset[str], ...]
    tensors: tuple[str, ...] = field(default=())

    @property
    def blocks(self) -> tuple[str, ...]:
        """Blocks with int8 weights, in the order of the graph."""
        return tuple(dict.fromkeys(d.block for d in self.decisions if d.int8 and d.block))


def place(graph: GraphIndex, target: Target, wanted: PlacementOverrides | None = None) -> Placement:
    """Decide for every node of the graph. Raises UsageError when a pattern matches no node."""
    wanted = wanted or PlacementOverrides()
    check_patterns(graph, wanted)
    rules = _Rules(graph, target, wanted)
    decisions = {node.name: rules.weighted(node) for node in graph.nodes.values()}
    int8 = {name for name, found in decisions.items() if found.int8}
    find = _edges_tensorrt if target == "tensorrt" else _edges_ort
    edges = find(graph, int8, wanted.silent)
    riders = rules.riders(decisions, edges)
    return Placement(
        target=target,
        edges=frozenset(edges),
        weights={Edge(name, 1): channel_axis(graph.nodes[name]) for name in sorted(int8)},
        decisions=tuple({**decisions, **riders}.values()),
        groups=_groups(graph, edges),
        tensors=tuple(dict.fromkeys(graph.nodes[e.node].input[e.position] for e in sorted(edges))),
    )


def block_of(graph: GraphIndex, node: onnx.NodeProto) -> str:
    """The module a node's weights came from: `module.teacher.layer1.0.conv1.weight` -> its parent.

    Graphs whose weights have no such names get one block a node.
    """
    if graph.weight_of(node) is None:
        return ""
    parts = node.input[1].removeprefix("module.").split(".")
    if len(parts) <= 2:
        return node.name
    return ".".join(parts[:-2]).removesuffix(".downsample")  # a shortcut belongs to its block


def channel_axis(node: onnx.NodeProto) -> int:
    """The axis of a weight that counts output channels."""
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return 0 if node.op_type == "Conv" else 1  # transposed convolutions and products: axis 1


def check_patterns(graph: GraphIndex, wanted: PlacementOverrides) -> None:
    """Raise UsageError for a pattern that is no regular expression or matches nothing."""
    for option, patterns in (("--exclude", wanted.exclude), ("--include", wanted.include)):
        for pattern in patterns:
            try:
                found = any(_matches(graph, node, [pattern]) for node in graph.nodes.values())
            except re.error as error:
                raise UsageError(
                    f"{option} '{pattern}': not a regular expression: {error}."
                ) from error
            if not found:
                raise UsageError(
                    f"{option} '{pattern}': matches no node's name, operator or weights of "
                    f"{graph.name}. `edge-ad calibrate --list-nodes` prints them."
                )


def _matches(graph: GraphIndex, node: onnx.NodeProto, patterns: Iterable[str]) -> bool:
    weight = node.input[1] if graph.weight_of(node) is not None else ""
    words = (node.name, weight)
    return any(
        pattern == node.op_type or any(re.search(pattern, word) for word in words)
        for pattern in patterns
    )


class _Rules:
    """The rules, in the order they are asked."""

    def __init__(self, graph: GraphIndex, target: Target, wanted: PlacementOverrides) -> None:
        self._graph, self._target, self._wanted = graph, target, wanted

    def weighted(self, node: onnx.NodeProto) -> Decision:
        """The decision for a convolution or matrix product; others answer float for now."""
        block = block_of(self._graph, node)
        reason = self._kept_float(node, block)
        rule = reason or "int8: constant weights, input quantized"
        return Decision(node.name, node.op_type, block, not reason, rule)

    def riders(self, decisions: dict[str, Decision], edges: set[Edge]) -> dict[str, Decision]:
        """What nodes without weights become, from the edges around them."""
        found: dict[str, Decision] = {}
        reads = {edge.node for edge in edges}
        for node in self._graph.nodes.values():
            if self._graph.weight_of(node) is not None:
                continue
            known = {**decisions, **found}
            makers = [self._graph.producers.get(tensor) for tensor in node.input]
            behind = any(maker is not None and known[maker.name].int8 for maker in makers)
            int8, rule = self._rider(node, behind=behind, reads=node.name in reads)
            found[node.name] = Decision(node.name, node.op_type, "", int8, rule)
        return found

    def _rider(self, node: onnx.NodeProto, *, behind: bool, reads: bool) -> tuple[bool, str]:
        if self._target == "tensorrt" and node.op_type == "Add" and reads:
            return True, "residual: only the skip input is quantized, so Conv+Add(+Relu) fuses"
        if self._target == "onnxruntime" and node.op_type in _INT8_ORT and reads:
            return True, f"int8 {node.op_type}: inputs and output quantized"
        if node.op_type in _RIDES and behind:
            return True, "rides on its neighbours: has no own scale"
        return False, _why_float(node)

    def _kept_float(self, node: onnx.NodeProto, block: str) -> str:
        """Why a node stays in float, or an empty string."""
        graph, wanted = self._graph, self._wanted
        weight = graph.weight_of(node)
        if weight is None:
            return "weights are computed" if node.op_type in WEIGHTED else _why_float(node)
        if _matches(graph, node, wanted.exclude):
            return "excluded by the user"
        if block in wanted.float_blocks:
            return "returned to float to pass the gate"
        if node.input[0] in wanted.silent:
            return "its input was zero on every image: range unknown"
        if _matches(graph, node, wanted.include):
            return ""
        return self._by_nature(node)

    def _by_nature(self, node: onnx.NodeProto) -> str:
        graph = self._graph
        if not any(later.op_type in WEIGHTED for later in graph.descendants(node)):
            return "last layer: its rounding would be the map's"
        weight, maker = graph.weight_of(node), graph.producers.get(node.input[0])
        if node.op_type == "MatMul" and weight is not None and weight.ndim != 2:
            return "stacked matrices: no int8 kernel has a step for each column of each"
        if maker is not None and maker.op_type in _POOLS:
            return "pooled branch: a single value a channel, nothing to gain"
        if self._target == "onnxruntime":
            return "" if node.op_type in _INT8_ORT else f"no int8 {node.op_type} in ONNX Runtime"
        return _few_channels(node, graph)


_INT8_ORT = frozenset({"Conv", "Add", "Concat", "MaxPool", "Resize", "MatMul", "Gemm"})


def _few_channels(node: onnx.NodeProto, graph: GraphIndex) -> str:
    weight = graph.weight_of(node)
    assert weight is not None
    counts = weight.shape[:2] if weight.ndim > 1 else (1, 1)
    if min(counts) >= FEW:
        return ""
    if int(str(attribute(node, "group", 1))) > 1 and max(counts) >= FEW:
        return "" if weight.shape[0] % 8 == 0 and min(weight.shape[2:]) >= 3 else "thin groups"
    return f"fewer than {FEW} channels: padded int8 is no faster"


def _why_float(node: onnx.NodeProto) -> str:
    if node.op_type in _NORMS:
        return "norms, softmax and exp stay float"
    if node.op_type == "Sub":
        return "differences stay float: rounding exceeds what is left"
    if node.op_type in WEIGHTED:
        return "both operands are computed"
    if node.op_type in _HEADS:
        return "heads stay float"
    if node.op_type in _RIDES:
        return "its neighbours are float"
    if node.op_type in ("Resize", "AveragePool", "ReduceMean", "GlobalAveragePool"):
        return "averages stay float between int8 layers"
    if node.op_type in ("Mul", "Neg"):
        return "products of activations stay float"
    return f"{node.op_type} is not quantized"


def _edges_tensorrt(graph: GraphIndex, int8: set[str], silent: frozenset[str]) -> set[Edge]:
    """Inputs of int8 nodes, and the skip input of every Add that an int8 node runs into."""
    edges = {Edge(name, 0) for name in int8}
    for node in graph.nodes.values():
        if node.op_type == "Add":
            edges |= _skip_edge(graph, node, int8)
    return {edge for edge in edges if graph.nodes[edge.node].input[edge.position] not in silent}


def _skip_edge(graph: GraphIndex, add: onnx.NodeProto, int8: set[str]) -> set[Edge]:
    """The input of a residual Add that does not come straight from the deepest int8 convolution."""
    computed = list(graph.computed_inputs(add))
    fusible = [(index, graph.producers[t]) for index, t in computed if _only_reader(graph, t, int8)]
    if len(computed) != 2 or not fusible:
        return set()
    main = max(fusible, key=lambda found: graph.depth[found[1].name])[0]
    skip, tensor = next((i, t) for i, t in computed if i != main)
    return {Edge(add.name, skip)} if tensor in graph.producers else set()


def _only_reader(graph: GraphIndex, tensor: str, int8: set[str]) -> bool:
    """Whether a tensor goes from an int8 convolution to one reader and nowhere else."""
    maker = graph.producers.get(tensor)
    alone = len(graph.consumers[tensor]) == 1 and tensor not in graph.outputs
    return maker is not None and maker.name in int8 and alone


def _edges_ort(graph: GraphIndex, int8: set[str], silent: frozenset[str]) -> set[Edge]:
    """Every reader of each tensor that an int8 kernel reads or writes.

    ONNX Runtime fuses a node into an int8 kernel when all its inputs come from DequantizeLinear and
    its output goes to QuantizeLinear alone, so float readers of such a tensor read it rounded too.
    """
    never = silent.union(graph.inputs, graph.outputs)
    tensors = {graph.nodes[name].input[0] for name in int8}
    tensors |= {_written(graph, graph.nodes[name].output[0]) for name in int8}
    tensors -= never
    while grown := _by_riders(graph, tensors) - tensors - never:
        tensors |= grown
    return {edge for tensor in tensors for edge in graph.consumers.get(tensor, [])}


def _written(graph: GraphIndex, tensor: str) -> str:
    """The tensor behind the Relu that fuses into a kernel."""
    readers = graph.consumers_of(tensor)
    return readers[0].output[0] if [r.op_type for r in readers] == ["Relu"] else tensor


def _by_riders(graph: GraphIndex, tensors: set[str]) -> set[str]:
    """Tensors that become int8 because a node without weights reads or feeds int8 ones.

    An Add runs in int8 when all its inputs are; a Concat, Resize or MaxPool when its output is
    wanted in int8, or all its inputs already are.
    """
    found: set[str] = set()
    for node in graph.nodes.values():
        if node.op_type not in ("Add", "Concat", "Resize", "MaxPool"):
            continue
        inputs = [t for _, t in graph.computed_inputs(node)]
        output = _written(graph, node.output[0])
        if inputs and all(t in tensors for t in inputs) and len(inputs) == _data_inputs(node):
            found.add(output)
        elif node.op_type != "Add" and output in tensors:
            found.update(inputs)
    return found


def _data_inputs(node: onnx.NodeProto) -> int:
    return 1 if node.op_type in ("Resize", "MaxPool") else len(node.input)


def _groups(graph: GraphIndex, edges: set[Edge]) -> tuple[frozenset[str], ...]:
    """Tensors that must share one range: across a Concat, and along what keeps a scale."""
    quantized = {graph.nodes[edge.node].input[edge.position] for edge in edges}
    sets = {tensor: {tensor} for tensor in _tensors(graph)}
    for node in graph.nodes.values():
        if node.op_type in _KEEPS_SCALE:
            members = [t for _, t in graph.computed_inputs(node)] + [node.output[0]]
            merged = set().union(*(sets[t] for t in members))
            sets.update(dict.fromkeys(merged, merged))
    distinct = {frozenset(members & quantized) for members in sets.values()}
    return tuple(sorted((g for g in distinct if len(g) > 1), key=sorted))


def _tensors(graph: GraphIndex) -> set[str]:
    inputs = {t for node in graph.nodes.values() for t in node.input}
    return inputs | set(graph.producers)
