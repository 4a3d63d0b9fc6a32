"""Bring a foreign graph to one flat form that every later step reads.

Functions are inlined, initializers are no inputs, constants are computed, all floats are float32,
unused outputs are gone. What cannot be brought to that form is refused with its operator's name.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import onnx
import onnx.inliner
from onnx import GraphProto, ModelProto, NodeProto

from edge_ad.errors import IncompatibleError
from edge_ad.onnx_graph.simplify import fold_constants, lift_constants

_log = logging.getLogger(__name__)
_RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike",
                     "RandomUniform", "RandomUniformLike"})  # fmt: skip
_QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
                        "ConvInteger", "MatMulInteger"})  # fmt: skip
_FOLDABLE = 1 << 24  # elements of a constant that is computed beforehand


def flat(model: ModelProto, outputs: Sequence[str]) -> ModelProto:
    """Return a copy without functions, Constant nodes and inputs that are initializers.

    Only `outputs` and what they need is kept. Raises IncompatibleError for operators that are not
    ONNX's own.
    """
    model = onnx.inliner.inline_local_functions(model)
    graph = model.graph
    _drop_constant_inputs(graph)
    lift_constants(graph)
    _keep(graph, outputs)
    for node in graph.node:
        _refuse_foreign_domain(node)
    del model.functions[:], model.metadata_props[:], model.training_info[:]
    _keep_own_domain(model)
    return model


def simplified(model: ModelProto) -> ModelProto:
    """Return the graph with everything computed that its fixed sizes determine.

    Raises IncompatibleError for branches and loops that remain, random numbers, quantized nodes.
    """
    outputs = [value.name for value in model.graph.output]
    model = _optimized(model)
    _drop_constant_inputs(model.graph)
    lift_constants(model.graph)
    fold_constants(model)
    _keep(model.graph, outputs)
    for node in model.graph.node:
        _refuse_operator(node)
    _keep_own_domain(model)
    return model


def set_input_shape(model: ModelProto, sides: Sequence[int | str]) -> None:
    """Give the only input of a graph this shape, in place, and forget shapes inferred before."""
    graph = model.graph
    tensor = graph.input[0].type.tensor_type
    tensor.ClearField("shape")
    for side in sides:
        dim = tensor.shape.dim.add()
        if isinstance(side, int):
            dim.dim_value = side
        else:
            dim.dim_param = side
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]


def _optimized(model: ModelProto) -> ModelProto:
    """Compute shapes and branches that are fixed; a graph it fails on is left as it is."""
    import onnxscript.optimizer

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    try:
        return onnxscript.optimizer.optimize(
            inferred, input_size_limit=_FOLDABLE, output_size_limit=_FOLDABLE
        )
    except Exception as error:  # an optimization: the graph is whole without it
        _log.debug("not simplified: %s", error)
        return model


def _drop_constant_inputs(graph: GraphProto) -> None:
    """Remove initializers from the inputs, where IR 3 demanded them."""
    constants = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(kept)


def _keep(graph: GraphProto, outputs: Sequence[str]) -> None:
    """Drop other outputs, and the nodes and constants that only they needed."""
    needed, nodes = set(outputs), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed.update(_reads(node))
            nodes.append(node)
    nodes.reverse()
    _replace(graph.node, nodes)
    _replace(graph.initializer, [t for t in graph.initializer if t.name in needed])
    by_name = {value.name: value for value in graph.output}
    _replace(graph.output, [by_name[name] for name in dict.fromkeys(outputs)])


def _reads(node: NodeProto) -> set[str]:
    """Return every tensor a node may read, also from within its branches."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names.update(name for inner in graph.node for name in _reads(inner))
            names.update(value.name for value in graph.output)
    return names


def _replace(field: object, values: Sequence[object]) -> None:
    copies = [_copy(value) for value in values]
    del field[:]  # type: ignore[attr-defined]
    field.extend(copies)  # type: ignore[attr-defined]


def _copy(message: object) -> object:
    copy = type(message)()
    copy.CopyFrom(message)  # type: ignore[attr-defined]
    return copy


def _keep_own_domain(model: ModelProto) -> None:
    kept = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", max(kept, default=1)))


def _refuse_foreign_domain(node: NodeProto) -> None:
    if node.domain not in ("", "ai.onnx"):
        raise IncompatibleError(
            f"node '{node.name}' is {node.domain}.{node.op_type}, which TensorRT and int8 do not "
            "have. Expected ONNX's own operators; export it without optimizing for one runtime"
        )
    node.domain = ""


def _refuse_operator(node: NodeProto) -> None:
    label = f"node '{node.name or node.output[0]}' ({node.op_type})"
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        raise IncompatibleError(
            f"{label} is a branch or loop that its input decides. Expected a flat graph; export "
            "the network with fixed sizes"
        )
    if node.op_type in _RANDOM:
        raise IncompatibleError(f"{label} is random, so no two scores would agree")
    if node.op_type in _QUANTIZED or node.op_type.startswith("QLinear"):
        raise IncompatibleError(
            f"{label} is quantized already. Import the float model it was made from, then: "
            "edge-ad calibrate"
        )
