"""A weights file or an engine file, through one door."""

from __future__ import annotations

from pathlib import Path

from edge_ad.engine import Engine, open_engine
from edge_ad.errors import MissingExtra


def open_artifact(path: Path, *, device: str = "cpu", threads: int = 0) -> Engine:
    """Open `.pt` weights with torch on `device`, anything else as an engine; use it with `with`."""
    if path.suffix != ".pt":
        return open_engine(path, device="cuda" if device == "cuda" else "cpu", threads=threads)
    try:
        from edge_ad.models.engine import TorchEngine
    except ImportError as error:
        raise MissingExtra(f"running {path.name}", "torch", "train") from error
    return TorchEngine(path, device=device)
