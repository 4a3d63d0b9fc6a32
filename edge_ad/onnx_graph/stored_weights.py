"""Multiply out weights stored in 8 bits, without the onnx package, which devices do not have.

`export --store-weights int8` stores a weight W as int8 `W.int8` and float32 `W.scale`, with a Cast
and a Mul that compute W. TensorRT refuses int8 before a plain Cast.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.onnx_graph.wire import encode, fields, number_of, varint_field

_GRAPH = 7  # of ModelProto
_NODE, _INITIALIZER = 1, 5  # of GraphProto
_INPUT, _OUTPUT, _OP_TYPE = 1, 2, 4  # of NodeProto
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9  # of TensorProto
_FLOAT, _INT8 = 1, 3  # of TensorProto.DataType
_KINDS: dict[int, type[np.generic]] = {_FLOAT: np.float32, _INT8: np.int8}


@dataclass(frozen=True, slots=True)
class _Tensor:
    dims: tuple[int, ...]
    kind: int
    raw: memoryview

    def values(self) -> NDArray[Any]:
        return np.frombuffer(self.raw, _KINDS[self.kind]).reshape(self.dims)


def multiplied_out(model: bytes) -> tuple[bytes, int]:
    """Return a serialized model with its stored weights in float32, and how many there were.

    A model without any is returned as it is. Raises NotOnnxError for bytes that are not a model.
    """
    graph = next((content for number, content, _ in fields(model) if number == _GRAPH), b"")
    changed, count = _changed_graph(graph)
    if not count:
        return model, 0
    parts = (
        encode(_GRAPH, changed) if number == _GRAPH else bytes(raw)
        for number, _, raw in fields(model)
    )
    return b"".join(parts), count


def _changed_graph(graph: bytes | memoryview) -> tuple[bytes, int]:
    stored = dict(_small_name_and_tensor(graph))
    weights = set(_stored_weights(graph, stored))
    if not weights:
        return b"", 0
    removed = {f"{weight}.{part}" for weight in weights for part in ("int8", "scale")}
    computed = {name for weight in weights for name in (weight, f"{weight}.float")}
    parts = []
    for number, content, raw in fields(graph):
        if number == _NODE and computed & set(_texts(content, _OUTPUT)):
            continue
        if number == _INITIALIZER and removed & set(_texts(content, _NAME)):
            continue
        parts.append(bytes(raw))
    parts += [encode(_INITIALIZER, _weight(name, stored)) for name in sorted(weights)]
    return b"".join(parts), len(weights)


def _stored_weights(graph: bytes | memoryview, stored: dict[str, _Tensor]) -> Iterable[str]:
    """Yield the names of weights that a Mul of this form computes."""
    for number, content, _ in fields(graph):
        if number != _NODE or "Mul" not in _texts(content, _OP_TYPE):
            continue
        (name,) = _texts(content, _OUTPUT)
        int8, scale = stored.get(f"{name}.int8"), stored.get(f"{name}.scale")
        inputs = _texts(content, _INPUT)
        if int8 and scale and inputs == [f"{name}.float", f"{name}.scale"]:
            if (int8.kind, scale.kind) == (_INT8, _FLOAT):
                yield name


def _small_name_and_tensor(graph: bytes | memoryview) -> Iterable[tuple[str, _Tensor]]:
    """Yield the initializers with raw data of the two types that stored weights have."""
    for number, content, _ in fields(graph):
        if number != _INITIALIZER:
            continue
        parts = list(fields(content))
        dims = tuple(n for field, value, _ in parts if field == _DIMS for n in number_of(value))
        kind = [number_of(value)[0] for field, value, _ in parts if field == _DATA_TYPE]
        raw = [value for field, value, _ in parts if field == _RAW_DATA]
        names = _texts(content, _NAME)
        if names and raw and kind[0] in _KINDS:
            yield names[0], _Tensor(dims, kind[0], raw[0])


def _weight(name: str, stored: dict[str, _Tensor]) -> bytes:
    """Return the weight as a serialized TensorProto, computed as Cast and Mul compute it."""
    levels, scale = (stored[f"{name}.{part}"].values() for part in ("int8", "scale"))
    values = levels.astype(np.float32) * scale
    dims = b"".join(varint_field(_DIMS, side) for side in values.shape)
    kind = varint_field(_DATA_TYPE, _FLOAT)
    raw = np.ascontiguousarray(values).tobytes()
    return dims + kind + encode(_NAME, name.encode()) + encode(_RAW_DATA, raw)


def _texts(message: bytes | memoryview, field: int) -> list[str]:
    return [bytes(value).decode() for number, value, _ in fields(message) if number == field]
