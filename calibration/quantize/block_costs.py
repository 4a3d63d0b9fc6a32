"""How much each block multiplies: what a block in float takes back of int8's speed."""

from __future__ import annotations

import math

import onnx

from edge_ad.calibration.quantize.placement import block_of
from edge_ad.onnx_graph.index import GraphIndex


def block_costs(graph: GraphIndex) -> dict[str, float]:
    """By block, its share of the graph's multiplications; the shares sum to 1."""
    sizes = _sizes(graph.model)
    found: dict[str, float] = {}
    for node in graph.nodes.values():
        weight = graph.weight_of(node)
        if weight is not None:
            products = weight.size * _positions(node, sizes)
            block = block_of(graph, node)
            found[block] = found.get(block, 0.0) + products
    total = sum(found.values()) or 1.0
    return {block: products / total for block, products in found.items()}


def _positions(node: onnx.NodeProto, sizes: dict[str, list[int]]) -> int:
    """How often a weight is used: output positions, for transposed convolutions input ones."""
    tensor = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
    sides = sizes.get(tensor, [])
    return math.prod(sides[2:]) if len(sides) > 2 else math.prod(sides[:-1])


def _sizes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """By tensor its sides; open ones count as 1."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    doors = (*inferred.value_info, *inferred.input, *inferred.output)
    return {
        door.name: [side.dim_value or 1 for side in door.type.tensor_type.shape.dim]
        for door in doors
    }
