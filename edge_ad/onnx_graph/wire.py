"""Read the frame of an ONNX file without the onnx package, which devices do not have.

An ONNX file is one protocol buffer message (onnx.proto, `ModelProto`): fields that follow each
other, each with its own length. So a file that ends early is recognised exactly.
"""

from __future__ import annotations

from collections.abc import Iterator

_GRAPH, _METADATA_PROPS = 7, 14  # field numbers of ModelProto
_KEY, _VALUE = 1, 2  # of StringStringEntryProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})  # those that ModelProto has


class NotOnnxError(Exception):
    """Bytes that are not a whole ONNX file; the message says what was expected and given."""


def metadata(data: bytes) -> dict[str, str]:
    """Return the `metadata_props` of a serialized model. Raises NotOnnxError."""
    try:
        fields = list(_fields(memoryview(data)))
        if not any(number == _GRAPH for number, _ in fields):
            raise NotOnnxError(f"expected a graph in it, got none in its {len(data)} bytes")
        return dict(_entry(value) for number, value in fields if number == _METADATA_PROPS)
    except UnicodeDecodeError as error:
        raise NotOnnxError("expected text as metadata, got other bytes") from error


def check_is_onnx(data: bytes) -> None:
    """Raise NotOnnxError unless the bytes are a whole ONNX file, as far as its frame shows."""
    fields = {number for number, _ in _fields(memoryview(data))}
    if _GRAPH not in fields or not fields <= _FIELDS:
        raise NotOnnxError(_other_kind(data))


def _entry(data: memoryview) -> tuple[str, str]:
    fields = dict(_fields(data))
    key, value = (bytes(fields.get(number, b"")) for number in (_KEY, _VALUE))
    return key.decode(), value.decode()


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (field number, content) of a message; the content of numeric fields is left empty."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, at = _varint(data, at)
            yield number, memoryview(b"")
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise NotOnnxError(_other_kind(data))
        if number == 0:
            raise NotOnnxError(_other_kind(data))
        if at + size > len(data):
            raise NotOnnxError(_too_short(data, number, at + size))
        yield number, data[at : at + size]
        at += size


def _too_short(data: memoryview, number: int, end: int) -> str:
    """Describe a file that ends inside a field, if the field is one that ONNX has."""
    if number not in _FIELDS or data[0] != 0x08:  # every writer begins with the IR version
        return _other_kind(data)
    return f"expected at least {end} bytes by its own lengths, got {len(data)}: it was cut off"


def _other_kind(data: bytes | memoryview) -> str:
    if not len(data):
        return "expected an ONNX model, got an empty file"
    return f"expected an ONNX model, got {len(data)} bytes that begin with {bytes(data[:12])!r}"


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number at `at`, seven bits a byte, lowest first, and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise NotOnnxError(f"expected more after its {len(data)} bytes: it was cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise NotOnnxError(_other_kind(data))
