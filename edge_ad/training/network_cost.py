"""The cost of a network: parameters, operations, and time on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

TIMED = 3  # timed runs, after one to warm up


@dataclass(frozen=True)
class NetworkCost:
    """Cost of one image: parameters, multiplications and additions, milliseconds in torch here."""

    parameters: int
    flops: int
    ms: float
    device: str

    def __str__(self) -> str:
        return (
            f"{self.parameters / 1e6:.2f} M parameters, {self.flops / 1e9:.1f} GFLOPs and about "
            f"{self.ms:.0f} ms per image in torch on this machine's {self.device}"
        )


def cost_of(module: nn.Module, size_hw: tuple[int, int]) -> NetworkCost:
    """Measure a network in eval mode, and restore its mode."""
    device = next(module.parameters()).device
    training = module.training
    module.eval()
    flops = count_flops(module, size_hw)
    ms = _fastest_ms(module, torch.zeros(1, 3, *size_hw, device=device))
    module.train(training)
    return NetworkCost(count_parameters(module), flops, ms, device.type.upper())


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def count_flops(module: nn.Module, size_hw: tuple[int, int]) -> int:
    """Count the operations for one image; the network may be on the meta device.

    Operations are those of convolutions and matrix products, a multiply-add counting as two.
    """
    device = next(module.parameters()).device
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 3, *size_hw, device=device))
    return int(counter.get_total_flops())


@torch.no_grad()
def _fastest_ms(module: nn.Module, image: torch.Tensor) -> float:
    times = []
    for _ in range(TIMED):
        started = time.perf_counter()
        module(image)
        if image.is_cuda:
            torch.cuda.synchronize(image.device)
        times.append(time.perf_counter() - started)
    return min(times) * 1e3
