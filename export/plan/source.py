"""Read the manifest of an ONNX file without the onnx package, which devices do not have.

An ONNX file is one protocol buffer message (onnx.proto, `ModelProto`); of its fields only
`metadata_props` matters here, and the rest is skipped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.manifest import METADATA_KEY, Manifest, manifest_from_json, no_manifest

_GRAPH, _METADATA_PROPS = 7, 14  # field numbers of ModelProto
_KEY, _VALUE = 1, 2  # of StringStringEntryProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


@dataclass(frozen=True, slots=True)
class OnnxSource:
    """An ONNX file in memory, so that what is compiled is what was checked."""

    path: Path
    data: bytes
    sha256: str
    manifest: Manifest


class _NotOnnx(Exception):
    """Bytes that are not a protocol buffer message."""


def read_source(path: Path) -> OnnxSource:
    """Read an ONNX file and its manifest.

    Raises UsageError for a missing file, IncompatibleError for one that is not ONNX or lacks the
    manifest.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {path} ({error.strerror}). "
            f"Export one with: edge-ad export WEIGHTS.pt -o {path}"
        ) from error
    metadata = read_metadata(path, data)
    if METADATA_KEY not in metadata:
        raise no_manifest(path)
    manifest = manifest_from_json(metadata[METADATA_KEY], str(path))
    return OnnxSource(path, data, hashlib.sha256(data).hexdigest(), manifest)


def read_metadata(path: Path, data: bytes) -> dict[str, str]:
    """Return the `metadata_props` of a serialized model; `path` is for the error.

    Raises IncompatibleError for bytes that are not a whole ONNX file.
    """
    try:
        fields = [(number, value) for number, value in _fields(memoryview(data))]
        entries = [value for number, value in fields if number == _METADATA_PROPS]
        if not any(number == _GRAPH for number, _ in fields):
            raise _NotOnnx
        return dict(_entry(entry) for entry in entries)
    except (_NotOnnx, UnicodeDecodeError) as error:
        raise IncompatibleError(
            f"{path}: not an ONNX file, or one that was cut off. Export it again."
        ) from error


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
            raise _NotOnnx
        if number == 0 or at + size > len(data):
            raise _NotOnnx
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number at `at`, seven bits a byte, lowest first, and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _NotOnnx
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise _NotOnnx
