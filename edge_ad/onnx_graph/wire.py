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
        parts = list(fields(data))
        if not any(number == _GRAPH for number, *_ in parts):
            raise NotOnnxError(f"expected a graph in it, got none in its {len(data)} bytes")
        return dict(_entry(value) for number, value, _ in parts if number == _METADATA_PROPS)
    except UnicodeDecodeError as error:
        raise NotOnnxError("expected text as metadata, got other bytes") from error


def check_is_onnx(data: bytes) -> None:
    """Raise NotOnnxError unless the bytes are a whole ONNX file, as far as its frame shows."""
    numbers = {number for number, *_ in fields(data)}
    if _GRAPH not in numbers or not numbers <= _FIELDS:
        raise NotOnnxError(_other_kind(data))


def fields(message: bytes | memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield field number, content and whole field of a message. Raises NotOnnxError."""
    data, start = memoryview(message), 0
    while start < len(data):
        tag, at = _varint(data, start)
        number, wire = tag >> 3, tag & 7
        size = 0
        if wire == _VARINT:
            size = _varint(data, at)[1] - at
        elif wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        if number == 0 or wire not in (_VARINT, _BYTES, _FIXED64, _FIXED32):
            raise NotOnnxError(_other_kind(data))
        end = at + size
        if end > len(data):
            raise NotOnnxError(_too_short(data, number, end))
        yield number, data[at:end], data[start:end]
        start = end


def number_of(content: memoryview) -> list[int]:
    """Return the whole numbers in a field's content: one, or several that are packed."""
    numbers, at = [], 0
    while at < len(content):
        value, at = _varint(content, at)
        numbers.append(value)
    return numbers


def encode(number: int, content: bytes) -> bytes:
    """Return a field of bytes, text or a message."""
    return _encoded_varint(number << 3 | _BYTES) + _encoded_varint(len(content)) + content


def varint_field(number: int, value: int) -> bytes:
    """Return a field of one whole number."""
    return _encoded_varint(number << 3 | _VARINT) + _encoded_varint(value)


def _encoded_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _entry(data: memoryview) -> tuple[str, str]:
    content = {number: bytes(value) for number, value, _ in fields(data)}
    return content.get(_KEY, b"").decode(), content.get(_VALUE, b"").decode()


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
