"""Simplify ONNX graphs in place: name nodes, fold constants, inline functions."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from edge_ad.errors import IncompatibleError

_FOLDED = frozenset({"Cast", "Constant", "DequantizeLinear", "Identity", "Mul", "Reshape",
                     "Transpose", "Unsqueeze"})  # fmt: skip
_NUMBERS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64,
            "value_ints": np.int64}  # fmt: skip


def name_nodes(model: ModelProto) -> None:
    """Give every node without a unique name one, after its operator and first output."""
    taken = {node.name for node in model.graph.node}
    visited: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in visited:
            name = f"{node.op_type}:{node.output[0]}"
            node.name = name if name not in taken else f"{name}_{index}"
        visited.add(node.name)


def flattened(model: ModelProto) -> ModelProto:
    """Return a copy without local functions and Constant nodes: operators and initializers alone.

    Raises IncompatibleError for a graph with branches or loops inside.
    """
    model = onnx.inliner.inline_local_functions(model)
    graph = model.graph
    _refuse_subgraphs(graph)
    lift_constants(graph)
    return model


def lift_constants(graph: GraphProto) -> None:
    """Turn Constant nodes into initializers, in place."""
    kept = [node for node in graph.node if not _lift_constant(graph, node)]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)


def fold_constants(model: ModelProto) -> None:
    """Compute nodes whose inputs are all constant: weights stored as int8 become fp32."""
    graph = model.graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kept, folded = [], {}
    for node in graph.node:
        if node.op_type in _FOLDED and all(name in known for name in node.input):
            folded[node.output[0]] = known[node.output[0]] = _compute(node, known, model)
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in folded.items())
    drop_unused_constants(graph)


def drop_unused_constants(graph: GraphProto) -> None:
    """Remove initializers that no node reads."""
    used = {tensor for node in graph.node for tensor in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _compute(
    node: NodeProto, known: dict[str, NDArray[np.generic]], model: ModelProto
) -> NDArray[np.generic]:
    from onnx.reference import ReferenceEvaluator

    inputs = [onnx.ValueInfoProto(name=name) for name in node.input]
    output = onnx.ValueInfoProto(name=node.output[0])
    graph = onnx.helper.make_graph([node], "single", inputs, [output])
    single = onnx.helper.make_model(graph, opset_imports=model.opset_import)
    (value,) = ReferenceEvaluator(single).run(None, {name: known[name] for name in node.input})
    return np.asarray(value)


def _refuse_subgraphs(graph: GraphProto) -> None:
    for node in graph.node:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise IncompatibleError(
                f"node '{node.name or node.output[0]}' ({node.op_type}) contains a subgraph. "
                "Expected a flat graph; export the network with fixed sizes and without branches."
            )


def _lift_constant(graph: GraphProto, node: NodeProto) -> bool:
    """Turn a Constant node of numbers into an initializer; return whether it was one."""
    if node.op_type != "Constant":
        return False
    value = onnx.helper.get_attribute_value(node.attribute[0])
    if node.attribute[0].name == "value":
        graph.initializer.add().CopyFrom(value)
    elif kind := _NUMBERS.get(node.attribute[0].name):
        graph.initializer.append(numpy_helper.from_array(np.array(value, kind)))
    else:
        return False
    graph.initializer[-1].name = node.output[0]
    return True
