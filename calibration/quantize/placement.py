"""Q/DQ placement: one decision for every node of a graph, and the edges that get Q/DQ pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx

from edge_ad.calibration.quantize.rules import (
    KEEPS_SCALE,
    Decision,
    PlacementOverrides,
    Rules,
    block_of,
    check_patterns,
)
from edge_ad.calibration.ranges.target import Target
from edge_ad.onnx_graph.index import FUSED, Edge, GraphIndex, attribute
from edge_ad.onnx_graph.thin_convs import fill_vector, products_before_shifts
from edge_ad.onnx_graph.upsampling import products_before_upsampling


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
    tensors: tuple[str, ...] = ()

    @property
    def blocks(self) -> tuple[str, ...]:
        """Return the blocks with int8 weights, in the order of the graph."""
        return tuple(dict.fromkeys(d.block for d in self.decisions if d.int8 and d.block))


def to_quantize(graph: GraphIndex, target: Target) -> GraphIndex:
    """Return the graph that `place` decides on: rewritten where that is faster on a CPU.

    TensorRT gets it as it is: nothing was measured there.
    """
    if target != "onnxruntime":
        return graph
    graph = products_before_upsampling(graph)
    rules = Rules(graph, target, PlacementOverrides())
    int8 = {node.name for node in graph.nodes.values() if rules.weighted(node).int8}
    return fill_vector(products_before_shifts(graph, graph.nodes.keys() - int8), int8)


def place(
    graph: GraphIndex, target: Target, overrides: PlacementOverrides | None = None
) -> Placement:
    """Decide on every node of the graph. Raises UsageError when a pattern matches no node."""
    overrides = overrides or PlacementOverrides()
    check_patterns(graph, overrides)
    rules = Rules(graph, target, overrides)
    decisions = {node.name: rules.weighted(node) for node in graph.nodes.values()}
    int8 = {name for name, decision in decisions.items() if decision.int8}
    find = _edges_tensorrt if target == "tensorrt" else _edges_ort
    edges = find(graph, int8, overrides.all_zero)
    unweighted = rules.unweighted(decisions, edges)
    return Placement(
        target=target,
        edges=frozenset(edges),
        weights={Edge(name, 1): channel_axis(graph.nodes[name]) for name in sorted(int8)},
        decisions=tuple({**decisions, **unweighted}.values()),
        groups=_groups(graph, edges),
        tensors=tuple(dict.fromkeys(graph.nodes[e.node].input[e.position] for e in sorted(edges))),
    )


def channel_axis(node: onnx.NodeProto) -> int:
    """Return the axis of a weight that counts output channels."""
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return 0 if node.op_type == "Conv" else 1  # transposed convolutions and products: axis 1


def _edges_tensorrt(graph: GraphIndex, int8: set[str], all_zero: frozenset[str]) -> set[Edge]:
    """Return the inputs of int8 nodes, and the skip input of every Add behind an int8 node."""
    edges = {Edge(name, 0) for name in int8}
    for node in graph.nodes.values():
        if node.op_type == "Add":
            edges |= _skip_edge(graph, node, int8)
    return {edge for edge in edges if graph.nodes[edge.node].input[edge.position] not in all_zero}


def _skip_edge(graph: GraphIndex, add: onnx.NodeProto, int8: set[str]) -> set[Edge]:
    """Return the input of a residual Add that is not the deepest int8 convolution's output."""
    computed = list(graph.computed_inputs(add))
    fusible = [(index, graph.producers[t]) for index, t in computed if _only_reader(graph, t, int8)]
    if len(computed) != 2 or not fusible:
        return set()
    main = max(fusible, key=lambda item: graph.depth[item[1].name])[0]
    skip, tensor = next((i, t) for i, t in computed if i != main)
    return {Edge(add.name, skip)} if tensor in graph.producers else set()


def _only_reader(graph: GraphIndex, tensor: str, int8: set[str]) -> bool:
    """Return whether a tensor goes from an int8 convolution to one reader and nowhere else."""
    producer = graph.producers.get(tensor)
    alone = len(graph.consumers[tensor]) == 1 and tensor not in graph.outputs
    return producer is not None and producer.name in int8 and alone


def _edges_ort(graph: GraphIndex, int8: set[str], all_zero: frozenset[str]) -> set[Edge]:
    """Return every edge from a tensor that an int8 kernel reads or writes.

    ONNX Runtime fuses a node into an int8 kernel when all its inputs come from DequantizeLinear and
    its output goes to QuantizeLinear alone, so float readers of such a tensor read it rounded too.
    """
    never = all_zero.union(graph.inputs, graph.outputs)
    tensors = {graph.nodes[name].input[0] for name in int8}
    tensors |= {_written(graph, graph.nodes[name].output[0]) for name in int8}
    tensors -= never
    while grown := _by_unweighted(graph, tensors) - tensors - never:
        tensors |= grown
    return {edge for tensor in tensors for edge in graph.consumers.get(tensor, [])}


def _written(graph: GraphIndex, tensor: str) -> str:
    """Return the tensor that a kernel writes: behind a Relu or Clip (ReLU6) that fuses into it.

    ONNX Runtime drops a Clip when the range of QuantizeLinear lies within its bounds. A range that
    was collected behind the Clip does.
    """
    readers = graph.consumers_of(tensor)
    fuses = len(readers) == 1 and readers[0].op_type in FUSED
    return readers[0].output[0] if fuses else tensor


def _by_unweighted(graph: GraphIndex, tensors: set[str]) -> set[str]:
    """Return the tensors that become int8 because of a node without weights beside them.

    An Add runs in int8 when all its inputs are; a Concat, Resize or MaxPool when its output is read
    in int8, or all its inputs already are.
    """
    result: set[str] = set()
    for node in graph.nodes.values():
        if node.op_type not in ("Add", "Concat", "Resize", "MaxPool"):
            continue
        inputs = [t for _, t in graph.computed_inputs(node)]
        output = _written(graph, node.output[0])
        if inputs and all(t in tensors for t in inputs) and len(inputs) == _data_inputs(node):
            result.add(output)
        elif node.op_type != "Add" and output in tensors:
            result.update(inputs)
    return result


def _data_inputs(node: onnx.NodeProto) -> int:
    return 1 if node.op_type in ("Resize", "MaxPool") else len(node.input)


def _groups(graph: GraphIndex, edges: set[Edge]) -> tuple[frozenset[str], ...]:
    """Return the groups of tensors that must share one range: along nodes that keep a scale."""
    quantized = {graph.nodes[edge.node].input[edge.position] for edge in edges}
    sets = {tensor: {tensor} for tensor in _tensors(graph)}
    for node in graph.nodes.values():
        if node.op_type in KEEPS_SCALE:
            members = [t for _, t in graph.computed_inputs(node)] + [node.output[0]]
            merged = set().union(*(sets[t] for t in members))
            sets.update(dict.fromkeys(merged, merged))
    distinct = {frozenset(members & quantized) for members in sets.values()}
    return tuple(sorted((g for g in distinct if len(g) > 1), key=sorted))


def _tensors(graph: GraphIndex) -> set[str]:
    inputs = {t for node in graph.nodes.values() for t in node.input}
    return inputs | set(graph.producers)


def block_costs(graph: GraphIndex) -> dict[str, float]:
    """Return each block's share of the graph's multiplications: the speed it costs in float."""
    sizes = _sizes(graph.model)
    costs: dict[str, float] = {}
    for node in graph.nodes.values():
        weight = graph.weight_of(node)
        if weight is not None:
            products = weight.size * _positions(node, sizes)
            block = block_of(graph, node)
            costs[block] = costs.get(block, 0.0) + products
    total = sum(costs.values()) or 1.0
    return {block: products / total for block, products in costs.items()}


def _positions(node: onnx.NodeProto, sizes: dict[str, list[int]]) -> int:
    """Count how often a weight is used: output positions, or input ones for ConvTranspose."""
    tensor = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
    sides = sizes.get(tensor, [])
    return math.prod(sides[:-1] if node.op_type in ("MatMul", "Gemm") else sides[2:])


def _sizes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the shape of every tensor; dynamic sides count as 1."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    return {
        value.name: [side.dim_value or 1 for side in value.type.tensor_type.shape.dim]
        for value in values
    }
