"""The manifest inside an ONNX file, and how a step of the workshop signs what it made."""

from __future__ import annotations

import platform
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import onnx
from onnx import ModelProto

import edge_ad
from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.manifest import METADATA_KEY, Manifest, Provenance, manifest_from_json, no_manifest


def load_model(path: Path) -> tuple[ModelProto, Manifest]:
    """Read an ONNX file of edge-ad's.

    Raises UsageError for a missing file, IncompatibleError for one that is cut off or foreign.
    """
    if not path.is_file():
        raise UsageError(f"no ONNX file at {path}. Make one with: edge-ad export WEIGHTS.pt")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and onnx's errors share no public base class
        reason = str(error).strip().splitlines()[0]
        raise IncompatibleError(
            f"{path}: not readable as ONNX ({reason}). The file may be cut off; export it again."
        ) from error
    return model, _manifest(model, path)


def set_manifest(model: ModelProto, manifest: Manifest) -> None:
    """Put the manifest into the model's `metadata_props`, instead of any other."""
    model.graph.name = manifest.method
    onnx.helper.set_model_props(model, {METADATA_KEY: manifest.model_dump_json()})


def signed(provenance: Provenance, parent_sha256: str, notes: dict[str, str]) -> Provenance:
    """The provenance of a file made now from its parent; what is known of the data stays."""
    packages = {name: version(name) for name in ("torch", "onnx", "onnxscript") if _has(name)}
    made_with = {"edge-ad": edge_ad.__version__, "python": platform.python_version(), **packages}
    return provenance.model_copy(
        update={
            "made_with": made_with,
            "created_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "parent_sha256": parent_sha256,
            "notes": {**provenance.notes, **notes},
        }
    )


def _has(package: str) -> bool:
    try:
        return bool(version(package))
    except ModuleNotFoundError:
        return False


def _manifest(model: ModelProto, path: Path) -> Manifest:
    for prop in model.metadata_props:
        if prop.key == METADATA_KEY:
            return manifest_from_json(prop.value, str(path))
    raise no_manifest(path)
