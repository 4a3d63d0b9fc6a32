"""Make a graph compute in float32: its weights, casts, inputs and outputs."""

from __future__ import annotations

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
FLOATS: dict[int, str] = {
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.BFLOAT16: "bfloat16",
}
_DTYPE_ATTRIBUTES = frozenset({"to", "dtype", "stash_type"})


def other_floats(model: ModelProto) -> tuple[str, ...]:
    """Return the names of the float types besides float32 that a flat graph uses."""
    graph = model.graph
    used = {tensor.data_type for tensor in graph.initializer}
    used |= {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    for node in graph.node:
        for attribute in node.attribute:
            used.add(attribute.t.data_type)
            used.add(attribute.i if attribute.name in _DTYPE_ATTRIBUTES else 0)
    return tuple(name for kind, name in FLOATS.items() if kind in used)


def to_float32(model: ModelProto) -> None:
    """Turn every float type of a flat graph into float32, in place."""
    graph = model.graph
    for tensor in graph.initializer:
        _retype(tensor)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in FLOATS:
            value.type.tensor_type.elem_type = FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            _retype_attribute(attribute)
    del graph.value_info[:]


def read_floats(graph: GraphProto) -> None:
    """Let the graph's input be float32 where it was a whole number, in place."""
    graph.input[0].type.tensor_type.elem_type = FLOAT
    del graph.value_info[:]


def _retype_attribute(attribute: AttributeProto) -> None:
    if attribute.type == AttributeProto.TENSOR:
        _retype(attribute.t)
    elif attribute.name in _DTYPE_ATTRIBUTES and attribute.i in FLOATS:
        attribute.i = FLOAT


def _retype(tensor: TensorProto) -> None:
    """Store a tensor's values in float32; those beyond its range become its largest value."""
    if tensor.data_type not in FLOATS:
        return
    values = np.asarray(numpy_helper.to_array(tensor), np.float64)
    largest = float(np.finfo(np.float32).max)
    finite = np.where(np.isfinite(values), values.clip(-largest, largest), values)
    tensor.CopyFrom(numpy_helper.from_array(finite.astype(np.float32), tensor.name))


def type_name(kind: int) -> str:
    """Return the name of an ONNX element type as numpy has it."""
    return FLOATS.get(kind) or str(helper.tensor_dtype_to_np_dtype(kind))
