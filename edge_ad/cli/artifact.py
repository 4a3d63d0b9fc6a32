"""A weights file or an engine file, through one door."""

from __future__ import annotations

from pathlib import Path

from edge_ad.engine import Device, Engine, open_engine
from edge_ad.errors import MissingExtra


def open_artifact(path: Path, *, device: Device = "cpu", threads: int = 0) -> Engine:
    """Open `.pt` weights with torch on `device`, anything else as an engine; use it with `with`.

    Raises as `open_engine` does, and IncompatibleError for a device that torch cannot use.
    """
    if path.suffix != ".pt":
        return open_engine(path, device=device, threads=threads)
    try:
        from edge_ad.models.engine import TorchEngine
        from edge_ad.train.device import pick_device
    except ImportError as error:
        raise MissingExtra(f"running {path.name}", "torch", "train") from error
    return TorchEngine(path, device=str(pick_device(device)))
