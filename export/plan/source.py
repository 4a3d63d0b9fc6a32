"""Read the manifest of an ONNX file without the onnx package, which devices do not have."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.manifest import (
    METADATA_KEY,
    Manifest,
    export_advice,
    manifest_from_json,
    no_manifest,
)
from edge_ad.onnx_graph.stored_weights import multiplied_out
from edge_ad.onnx_graph.wire import NotOnnxError, metadata


@dataclass(frozen=True, slots=True)
class OnnxSource:
    """An ONNX file in memory, so that what is compiled is what was checked.

    `sha256` is the file's. In `data` the `stored_weights`, in 8 bits in the file, are float32.
    """

    path: Path
    data: bytes
    sha256: str
    manifest: Manifest
    stored_weights: int = 0


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
    compiled, stored = multiplied_out(data)
    return OnnxSource(path, compiled, hashlib.sha256(data).hexdigest(), manifest, stored)


def read_metadata(path: Path, data: bytes) -> dict[str, str]:
    """Return the `metadata_props` of a serialized model; `path` is for the error.

    Raises IncompatibleError for bytes that are not a whole ONNX file.
    """
    try:
        return metadata(data)
    except NotOnnxError as error:
        raise IncompatibleError(
            f"{path}: not an ONNX file: {error}. {export_advice(path)}"
        ) from error
