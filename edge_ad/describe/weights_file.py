"""Weights, told without running them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ad.errors import MissingExtra


def facts(path: Path) -> dict[str, Any]:
    """Method, configuration and size of a weights file; raises as `load_detector` does."""
    try:
        from edge_ad.methods.weights import load_detector
    except ModuleNotFoundError as error:
        raise MissingExtra(f"reading {path.name}", str(error.name), "train") from error
    module, manifest, config = load_detector(path)
    return {
        "kind": "weights",
        "manifest": manifest.model_dump(mode="json"),
        "config": config,
        "graph": {"parameters": sum(one.numel() for one in module.parameters())},
    }
