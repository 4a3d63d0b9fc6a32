"""Settings of torch and of trainings for tests, whose networks and data are small."""

from __future__ import annotations

from functools import cache

import torch
from torch.onnx._internal.exporter import _registration

from edge_ad.training import network_cost, selection


@cache
def make_torch_quick() -> None:
    """Use one thread, list once the operators that torch can export, and choose by few tiles.

    Nets this small lose more to handing work over than they gain, and torch lists its operators for
    every export, which takes half of a small one. A training of four steps is chosen, examined and
    compared on 60 tiles at least, which takes most of its time; ten have each anomaly twice. Its
    milliseconds an image are those of one run.
    """
    torch.set_num_threads(1)
    registry = _registration.ONNXRegistry
    once = staticmethod(cache(registry.from_torchlib))
    registry.from_torchlib = once  # type: ignore[method-assign]
    selection.SAMPLES = (10, 10)
    network_cost.TIMED = 1
