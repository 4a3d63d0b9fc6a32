"""Computes the costs of every method's network and writes them into the package.

    python benchmarks/method_costs.py

`edge-ad methods` and the docs read them; a test computes them again. Run it when a network changes
or a method is added.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from edge_ad.files import write_text
from edge_ad.methods.learning.parse import parse_settings
from edge_ad.methods.learning.trainer import load_training
from edge_ad.methods.method import Config, load_method
from edge_ad.methods.registry import COSTS_FILE, METHODS
from edge_ad.training.network_cost import count_flops, count_parameters

OUTPUT = Path(__file__).resolve().parent.parent / "edge_ad" / "methods" / COSTS_FILE
FULL, EDGE = (256, 256), (128, 128)


def costs_of(name: str) -> dict[str, dict[str, float]]:
    """Return the costs of the published network (`full`) and of the preset `edge`."""
    settings = parse_settings(load_training(name), {}, "edge")
    return {
        "full": cost(name, load_method(name).config(), FULL),
        "edge": cost(name, settings.network, EDGE),
    }


def cost(name: str, config: Config, size_hw: tuple[int, int]) -> dict[str, float]:
    """Return parameters in millions and GFLOPs of one image, without allocating the network."""
    with torch.device("meta"):
        module = load_method(name).build(config, size_hw).eval()
        flops = count_flops(module, size_hw)
    return {
        "parameters_m": round(count_parameters(module) / 1e6, 2),
        "gflops": round(flops / 1e9, 1),
    }


def text() -> str:
    """Return the file's text."""
    costs: dict[str, Any] = {name: costs_of(name) for name in METHODS}
    return json.dumps(costs, indent=1) + "\n"


if __name__ == "__main__":
    write_text(OUTPUT, text())
