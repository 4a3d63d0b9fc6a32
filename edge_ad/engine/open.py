"""A file's name to the engine that runs it."""

from __future__ import annotations

from pathlib import Path

from edge_ad.engine.base import Engine
from edge_ad.errors import UsageError


def open_engine(path: Path, *, threads: int = 0) -> Engine:
    """Load, check and warm up the engine in `path`; use it in a `with` block.

    `threads` bounds ONNX Runtime's arithmetic threads; 0 means one per core. Raises UsageError for
    a missing file or unknown kind, IncompatibleError for a file that breaks the contract.
    """
    if not path.is_file():
        raise UsageError(f"no engine at {path}. Make one with: edge-ad export WEIGHTS.pt -o {path}")
    if path.suffix == ".onnx":
        from edge_ad.engine._onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(path, threads=threads)
    raise UsageError(f"{path}: unknown kind of engine '{path.suffix}', expected .onnx")
