"""Settings of torch for tests, which have small networks and export many of them."""

from __future__ import annotations

from functools import cache

import torch
from torch.onnx._internal.exporter import _registration


@cache
def make_torch_quick() -> None:
    """Use one thread, and list once the operators that torch can export.

    Nets this small lose more to handing work over than they gain, and torch lists its operators for
    every export, which takes half of a small one.
    """
    torch.set_num_threads(1)
    registry = _registration.ONNXRegistry
    once = staticmethod(cache(registry.from_torchlib))
    registry.from_torchlib = once  # type: ignore[method-assign]
