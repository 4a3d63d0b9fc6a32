"""A weights file or an engine file, through one door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ad.engine import Engine, open_engine
from edge_ad.errors import MissingExtra


def open_artifact(path: Path, how: dict[str, Any]) -> Engine:
    """Open `.pt` weights with torch on `how["device"]`, anything else as an engine, in a `with`.

    `how` is what `engine_options_from` answers. Raises as `open_engine` does, and
    IncompatibleError for a device that torch cannot use.
    """
    if path.suffix != ".pt":
        return open_engine(path, **how)
    try:
        from edge_ad.methods.torch_engine import TorchEngine
        from edge_ad.training.device import pick_device
    except ImportError as error:
        raise MissingExtra(f"running {path.name}", "torch", "train") from error
    return TorchEngine(path, device=str(pick_device(how["device"])))
