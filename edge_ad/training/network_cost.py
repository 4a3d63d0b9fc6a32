"""What a network costs before anyone waits for it: parameters, operations, time on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

TIMED = 3  # images judged for the time, after one to warm up


@dataclass(frozen=True)
class NetworkCost:
    """For one image: parameters, multiplications and additions, milliseconds in torch here."""

    parameters: int
    flops: int
    ms: float
    device: str

    def __str__(self) -> str:
        return (
            f"{self.parameters / 1e6:.2f} M parameters, {self.flops / 1e9:.1f} GFLOPs and about "
            f"{self.ms:.0f} ms an image in torch on this machine's {self.device}"
        )


def cost_of(module: nn.Module, size_hw: tuple[int, int]) -> NetworkCost:
    """Measure a network in eval mode; its mode is put back.

    Operations are those of convolutions and matrix products, a multiply-add counting as two.
    """
    device = next(module.parameters()).device
    image = torch.zeros(1, 3, *size_hw, device=device)
    training = module.training
    module.eval()
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            module(image)
        ms = _fastest_ms(module, image)
    module.train(training)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return NetworkCost(parameters, int(counter.get_total_flops()), ms, device.type.upper())


def _fastest_ms(module: nn.Module, image: torch.Tensor) -> float:
    times = []
    for _ in range(TIMED):
        started = time.perf_counter()
        module(image)
        if image.is_cuda:
            torch.cuda.synchronize(image.device)
        times.append(time.perf_counter() - started)
    return min(times) * 1e3
