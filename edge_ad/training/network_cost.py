"""The cost of a network: parameters, operations, and time on this machine."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edge_ad.errors import IncompatibleError, OutletLost

TIMED = 3  # timed runs, after one to warm up
# fp32 weights, and a checkpoint with weights and two moments; a new file replaces the old one when
# it is complete, so that both are on the disk for a moment
_BYTES_A_PARAMETER, _REPORT_MIB = 4 + 2 * 12, 16


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


@torch.no_grad()
def check_answer(module: nn.Module, method: str, size_hw: tuple[int, int]) -> None:
    """Raise IncompatibleError for a network that does not answer as the engine contract says.

    A method of one's own would otherwise train to its end before `export` refuses it.
    """
    device, training = next(module.parameters()).device, module.training
    answer = module.eval()(torch.zeros(2, 3, *size_hw, device=device))
    module.train(training)
    expected = ((2, *size_hw), (2,))
    parts = answer if isinstance(answer, tuple) else (answer,)
    shapes = tuple(tuple(getattr(part, "shape", ())) for part in parts)
    if shapes != expected:
        raise IncompatibleError(
            f"method {method}: for 2 images of {size_hw[0]}x{size_hw[1]} its network returns "
            f"{_listed(shapes)}; expected a map of {expected[0]} and a score of {expected[1]} for "
            "each image. Nothing was trained."
        )


def _listed(shapes: tuple[tuple[int, ...], ...]) -> str:
    return " and ".join(f"a tensor of {shape}" for shape in shapes) or "nothing"


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


def check_space(output: Path, cost: NetworkCost) -> None:
    """Raise OutletLost when the disk has no room for weights, checkpoint and report."""
    folder = next(folder for folder in output.absolute().parents if folder.exists())
    need_mib = _BYTES_A_PARAMETER * cost.parameters / 2**20 + _REPORT_MIB
    free_mib = shutil.disk_usage(folder).free / 2**20
    if free_mib < need_mib:
        raise OutletLost(
            f"{folder}: {free_mib:.0f} MiB are free, but weights, checkpoint and report need "
            f"{need_mib:.0f} MiB. Make room, or write to another disk with -o."
        )
