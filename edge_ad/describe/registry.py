"""A file's name to the module that can read it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from edge_ad.errors import UsageError
from edge_ad.files import sha256

# suffix -> module with `facts(path)`
KINDS = {
    ".pt": "edge_ad.describe.weights_file",
    ".onnx": "edge_ad.describe.onnx_file",
    ".plan": "edge_ad.describe.plan_file",
}
SIDECAR = ".yaml"


def inspect_file(path: Path) -> dict[str, Any]:
    """Everything known of an artefact; a sidecar stands for the engine it lies beside.

    Raises UsageError for a missing file or unknown kind, IncompatibleError or DataError for a file
    that is not what its name says.
    """
    path = _described_by(path)
    if not path.is_file():
        raise UsageError(f"no file at {path}. Name a {', '.join(KINDS)} file, or a sidecar.")
    if path.suffix not in KINDS:
        known = ", ".join((*KINDS, SIDECAR))
        raise UsageError(f"{path}: unknown kind of file '{path.suffix}', expected one of {known}.")
    facts = importlib.import_module(KINDS[path.suffix]).facts(path)
    return {"file": str(path), "bytes": path.stat().st_size, "sha256": sha256(path), **facts}


def _described_by(path: Path) -> Path:
    """The engine that a sidecar describes; any other file itself."""
    if path.suffix != SIDECAR or not path.is_file():
        return path
    engine = path.with_suffix("")
    if not engine.is_file():
        raise UsageError(
            f"{path}: a sidecar describes the engine {engine.name}, which is not beside it. "
            "Put both into one folder."
        )
    return engine
