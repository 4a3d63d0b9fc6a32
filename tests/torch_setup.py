"""Settings of torch and of trainings for tests, whose networks and data are small."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from unittest import mock

import torch
from torch import nn
from torch.onnx._internal.exporter import _registration

from edge_ad.methods.layers import backbone
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.training import network_cost, selection

NARROW = (16, 32, 64)


@contextlib.contextmanager
def narrow_resnet18() -> Iterator[None]:
    """Give ResNet-18 a quarter of its channels in all methods.

    Trainings of four steps and files of them do not depend on the width, and take two thirds of
    the time.
    """
    with mock.patch.dict(backbone.CHANNELS, resnet18=NARROW):
        yield


@cache
def make_torch_quick() -> None:
    """Use one thread, list once the operators that torch can export, and choose by few tiles.

    Nets this small lose more to handing work over than they gain, and torch lists its operators for
    every export, which takes half of a small one. A training of four steps is chosen, examined and
    compared on 60 tiles at least, which takes most of its time; ten have each anomaly twice. Its
    milliseconds an image are those of one run, and the operations of one network are counted once.
    """
    torch.set_num_threads(1)
    registry = _registration.ONNXRegistry
    once = staticmethod(cache(registry.from_torchlib))
    registry.from_torchlib = once  # type: ignore[method-assign]
    selection.SAMPLES = (10, 10)
    network_cost.TIMED = 1
    count = network_cost.count_flops
    network_cost.count_flops = _count_once(count)  # type: ignore[assignment]


def _count_once(count: Callable[[nn.Module, SizeHW], int]) -> Callable[[nn.Module, SizeHW], int]:
    """Count the operations of networks with the same layers and input once."""
    counts: dict[tuple[str, SizeHW], int] = {}

    def counted(module: nn.Module, size_hw: SizeHW) -> int:
        key = (str(module), size_hw)
        if key not in counts:
            counts[key] = count(module, size_hw)
        return counts[key]

    return counted
