"""Find the weights that an ONNX file keeps in another file, without the onnx package.

Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from edge_ad.onnx_graph.wire import fields, number_of

_GRAPH, _INITIALIZER = 7, 5
_DIMS, _DATA_TYPE, _NAME, _EXTERNAL_DATA = 1, 2, 8, 13
_DTYPES: dict[int, DTypeLike] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64,
    9: np.bool_, 10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip
# which fields of a message lead to tensors: those of ModelProto, GraphProto, FunctionProto,
# NodeProto, AttributeProto and SparseTensorProto
_TO_TENSORS = {
    "model": {_GRAPH: "graph", 25: "function"},
    "graph": {1: "node", _INITIALIZER: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor",
                  23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExternalWeight:
    """One initializer: `length` bytes from `offset` on of the file beside the graph."""

    name: str
    shape: tuple[int, ...]
    dtype: DTypeLike
    offset: int
    length: int


def external_weights(model: bytes | memoryview) -> Iterator[ExternalWeight]:
    """Yield the external initializers of a serialized model whose type numpy has, in order."""
    for number, graph, _ in fields(model):
        if number != _GRAPH:
            continue
        for field, tensor, _ in fields(graph):
            weight = _weight(tensor) if field == _INITIALIZER else None
            if weight is not None:
                yield weight


def is_self_contained(message: bytes | memoryview, kind: str = "model") -> bool:
    """Return whether all tensors of a serialized model are in it: weights, and those of nodes."""
    if kind == "tensor":
        return all(number != _EXTERNAL_DATA for number, *_ in fields(message))
    inside = _TO_TENSORS[kind]
    return all(
        is_self_contained(content, inside[number])
        for number, content, _ in fields(message)
        if number in inside
    )


def _weight(tensor: memoryview) -> ExternalWeight | None:
    shape: list[int] = []
    dtype, name = 0, ""
    place: dict[str, str] = {}
    for field, content, _ in fields(tensor):
        if field == _DIMS:
            shape += number_of(content)
        elif field == _DATA_TYPE:
            (dtype,) = number_of(content)
        elif field == _NAME:
            name = bytes(content).decode()
        elif field == _EXTERNAL_DATA:
            entry = {key: bytes(value).decode() for key, value, _ in fields(content)}
            place[entry[1]] = entry[2]
    if "length" not in place or dtype not in _DTYPES:
        return None
    offset, length = int(place.get("offset", 0)), int(place["length"])
    return ExternalWeight(name, tuple(shape), _DTYPES[dtype], offset, length)
