"""Read ONNX files, and the manifest in their `metadata_props`."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto

from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.manifest import METADATA_KEY, Manifest, manifest_from_json, no_manifest


def load_onnx(path: Path, *, check: bool = True) -> ModelProto:
    """Read any ONNX file; `check` applies onnx's own checker to it.

    Raises UsageError for a missing file, IncompatibleError for one that is not ONNX, is cut off,
    holds no graph or fails the check.
    """
    if not path.is_file():
        raise UsageError(
            f"no ONNX file at {path}. Export one with: edge-ad export WEIGHTS.pt -o {path}"
        )
    try:
        model = onnx.load(path)
        if check:
            onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and onnx's errors share no public base class
        raise _unreadable(path, str(error).strip().splitlines()[0]) from error
    if not model.ir_version or not model.graph.node:
        raise _unreadable(path, "it contains no graph")
    return model


def load_model(path: Path) -> tuple[ModelProto, Manifest]:
    """Read an engine file of edge-ad; raises as `load_onnx`, or if its manifest is missing."""
    model = load_onnx(path)
    for prop in model.metadata_props:
        if prop.key == METADATA_KEY:
            return model, manifest_from_json(prop.value, str(path))
    raise no_manifest(path)


def set_manifest(model: ModelProto, manifest: Manifest) -> None:
    """Write the manifest into the model's `metadata_props`, replacing any other metadata."""
    model.graph.name = manifest.method
    onnx.helper.set_model_props(model, {METADATA_KEY: manifest.model_dump_json()})


def _unreadable(path: Path, reason: str) -> IncompatibleError:
    return IncompatibleError(
        f"{path}: not readable as ONNX ({reason}). The file may be cut off, or of another kind; "
        "export it again."
    )
