"""Placement rules: which nodes become int8, which stay float, and why.

The rules follow NVIDIA's guidance for explicit quantization (what fuses into int8 kernels) and the
node units that ONNX Runtime's CPU provider fuses; see docs/int8.md for the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from edge_ad.calibration.ranges.target import Target
from edge_ad.errors import UsageError
from edge_ad.onnx_graph.index import WEIGHTED, Edge, GraphIndex, attribute
from edge_ad.onnx_graph.upsampling import is_interpolation

FEW = 16  # channels; below, int8 kernels pad to 16 or 32 and gain nothing (NVIDIA ModelOpt's limit)

KEEPS_SCALE = frozenset({"Concat", "MaxPool", "Reshape", "Transpose", "Slice", "Flatten",
                          "Squeeze", "Unsqueeze", "Identity"})  # fmt: skip
_FOLLOWS = KEEPS_SCALE | {"Relu", "Clip", "Split", "Gather", "DepthToSpace"}
_POOLS = frozenset({"GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax"})
_NORMS = frozenset({"Softmax", "LogSoftmax", "Exp", "Log", "Sqrt", "Reciprocal", "Div", "Pow",
                    "ReduceSum", "ReduceL2", "LayerNormalization", "InstanceNormalization",
                    "BatchNormalization", "GroupNormalization", "LpNormalization", "Erf",
                    "Tanh"})  # fmt: skip
_HEADS = frozenset({"Sigmoid", "TopK", "ArgMax", "ReduceMax"})
_INT8_ORT = frozenset({"Conv", "Add", "Concat", "MaxPool", "Resize", "MatMul", "Gemm"})


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision for one node. `block` is the module its weights came from, empty without."""

    node: str
    op: str
    block: str
    int8: bool
    rule: str


@dataclass(frozen=True, slots=True)
class PlacementOverrides:
    """Overrides of the rules.

    `include` and `exclude` are operators or regular expressions for names; `include` overrules the
    rules that keep a node in float, `exclude` overrules `include`. `float_blocks` were returned to
    float to pass the gate; `all_zero` tensors were zero on every image, so their range is unknown.
    """

    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    float_blocks: frozenset[str] = frozenset()
    all_zero: frozenset[str] = frozenset()


class Rules:
    """Apply the rules, in order of precedence."""

    def __init__(self, graph: GraphIndex, target: Target, overrides: PlacementOverrides) -> None:
        self._graph, self._target, self._overrides = graph, target, overrides

    def weighted(self, node: onnx.NodeProto) -> Decision:
        """Decide on a convolution or matrix product; other nodes are float for now."""
        block = block_of(self._graph, node)
        reason = self._kept_float(node, block)
        rule = reason or "int8: constant weights, input quantized"
        return Decision(node.name, node.op_type, block, not reason, rule)

    def unweighted(self, decisions: dict[str, Decision], edges: set[Edge]) -> dict[str, Decision]:
        """Decide on nodes without weights, from the edges around them."""
        result: dict[str, Decision] = {}
        reads = {edge.node for edge in edges}
        for node in self._graph.nodes.values():
            if self._graph.weight_of(node) is not None:
                continue
            known = {**decisions, **result}
            producers = [self._graph.producers.get(tensor) for tensor in node.input]
            after_int8 = any(node is not None and known[node.name].int8 for node in producers)
            int8, rule = self._unweighted(node, after_int8=after_int8, reads=node.name in reads)
            result[node.name] = Decision(node.name, node.op_type, "", int8, rule)
        return result

    def _unweighted(
        self, node: onnx.NodeProto, *, after_int8: bool, reads: bool
    ) -> tuple[bool, str]:
        if self._target == "tensorrt" and node.op_type == "Add" and reads:
            return True, "residual: only the skip input is quantized, so Conv+Add(+Relu) fuses"
        if self._target == "onnxruntime" and node.op_type in _INT8_ORT and reads:
            return True, f"int8 {node.op_type}: inputs and output quantized"
        if node.op_type in _FOLLOWS and after_int8:
            return True, "follows its int8 neighbours: needs no scale"
        return False, _why_float(node)

    def _kept_float(self, node: onnx.NodeProto, block: str) -> str:
        """Return why a node stays in float, or an empty string."""
        graph, overrides = self._graph, self._overrides
        weight = graph.weight_of(node)
        if weight is None:
            return "weights are computed" if node.op_type in WEIGHTED else _why_float(node)
        if _matches(graph, node, overrides.exclude):
            return "excluded by the user"
        if block in overrides.float_blocks:
            return "returned to float to pass the gate"
        if node.input[0] in overrides.all_zero:
            return "its input was zero on every image: range unknown"
        if _matches(graph, node, overrides.include):
            return ""
        return self._by_operator(node)

    def _by_operator(self, node: onnx.NodeProto) -> str:
        graph = self._graph
        if is_interpolation(node):
            return _why_float(node)
        later = [n for n in graph.descendants(node) if n.op_type in WEIGHTED]
        later = [product for product in later if not is_interpolation(product)]
        if all(_enlarges_map(graph, product) or _is_thin(graph, product) for product in later):
            return "last layer: its rounding would show in the map"
        weight, producer = graph.weight_of(node), graph.producers.get(node.input[0])
        if node.op_type == "MatMul" and weight is not None and weight.ndim != 2:
            return "stacked matrices: no int8 kernel has a scale for each column of each"
        if node.op_type == "Gemm" and self._target == "onnxruntime" and _has_factors(node):
            return "Gemm with alpha or beta: its int8 kernel adds the bias without them"
        if node.op_type == "ConvTranspose" and _groups(node) > 1:
            return "grouped transposed convolution: its weights have no axis of output channels"
        if producer is not None and producer.op_type in _POOLS:
            return "pooled branch: one value per channel, nothing to gain"
        if self._target == "onnxruntime":
            return _slower_in_onnxruntime(node, graph)
        return _few_channels(node, graph)


def block_of(graph: GraphIndex, node: onnx.NodeProto) -> str:
    """Return the module a node's weights came from: `net.layer1.0.conv1.weight` -> `net.layer1.0`.

    In graphs whose weights have no such names every node is its own block.
    """
    if graph.weight_of(node) is None:
        return ""
    parts = node.input[1].removeprefix("module.").split(".")
    if len(parts) <= 2:
        return node.name
    return ".".join(parts[:-2]).removesuffix(".downsample")  # a shortcut belongs to its block


def check_patterns(graph: GraphIndex, overrides: PlacementOverrides) -> None:
    """Raise UsageError for a pattern that is not a regular expression or matches nothing."""
    for option, patterns in (("--exclude", overrides.exclude), ("--include", overrides.include)):
        for pattern in patterns:
            try:
                matches = any(_matches(graph, node, [pattern]) for node in graph.nodes.values())
            except re.error as error:
                raise UsageError(
                    f"{option} '{pattern}': not a valid regular expression: {error}."
                ) from error
            if not matches:
                raise UsageError(
                    f"{option} '{pattern}': matches no node name, operator or weight name of "
                    f"{graph.name}. List them with: edge-ad calibrate ENGINE.onnx --list-nodes"
                )


def _matches(graph: GraphIndex, node: onnx.NodeProto, patterns: Iterable[str]) -> bool:
    weight = node.input[1] if graph.weight_of(node) is not None else ""
    words = (node.name, weight)
    return any(
        pattern == node.op_type or any(re.search(pattern, word) for word in words)
        for pattern in patterns
    )


def _enlarges_map(graph: GraphIndex, node: onnx.NodeProto) -> bool:
    """Return whether a matrix product acts on rows or columns of a map of one channel."""
    channels = graph.tensor_types.channels
    computed = [channels.get(tensor) for _, tensor in graph.computed_inputs(node)]
    return node.op_type == "MatMul" and computed == [1]


def _slower_in_onnxruntime(node: onnx.NodeProto, graph: GraphIndex) -> str:
    """Return why a node has no int8 kernel in ONNX Runtime, or only one that gains nothing.

    A few filters of one channel each, like the edge filters of an error map, leave its kernels
    without a vector to fill: three at 128x128 take 0.57 ms in int8 and 0.07 ms in float, one core
    of a Zen 4 (benchmarks/int8_layers.py).
    """
    if node.op_type not in _INT8_ORT:
        return f"no int8 {node.op_type} in ONNX Runtime"
    thin = _is_thin(graph, node)
    return f"fewer than {FEW} filters of one channel: slower in int8" if thin else ""


def _is_thin(graph: GraphIndex, node: onnx.NodeProto) -> bool:
    """Return whether a convolution has a few filters of one channel each, of an image or a map."""
    weight = graph.weight_of(node)
    if weight is None or node.op_type != "Conv":
        return False
    return bool(weight.shape[1] == 1 and weight.shape[0] < FEW)


def _few_channels(node: onnx.NodeProto, graph: GraphIndex) -> str:
    weight = graph.weight_of(node)
    assert weight is not None
    counts = weight.shape[:2] if weight.ndim > 1 else (1, 1)
    if min(counts) >= FEW:
        return ""
    if _groups(node) > 1 and max(counts) >= FEW:
        return "" if weight.shape[0] % 8 == 0 and min(weight.shape[2:]) >= 3 else "thin groups"
    return f"fewer than {FEW} channels: padded int8 is no faster"


def _groups(node: onnx.NodeProto) -> int:
    return int(str(attribute(node, "group", 1)))


def _has_factors(gemm: onnx.NodeProto) -> bool:
    return any(attribute(gemm, name, 1.0) != 1.0 for name in ("alpha", "beta"))


def _why_float(node: onnx.NodeProto) -> str:
    if is_interpolation(node):
        return "interpolation stays float"
    if node.op_type in _NORMS:
        return "norms, softmax and exp stay float"
    if node.op_type == "Sub":
        return "differences stay float: rounding would exceed the result"
    if node.op_type in WEIGHTED:
        return "both operands are computed"
    if node.op_type in _HEADS:
        return "heads stay float"
    if node.op_type in _FOLLOWS:
        return "its neighbours are float"
    if node.op_type in ("Resize", "AveragePool", "ReduceMean", "GlobalAveragePool"):
        return "averages stay float between int8 layers"
    if node.op_type in ("Mul", "Neg"):
        return "products of activations stay float"
    return f"{node.op_type} is not quantized"
