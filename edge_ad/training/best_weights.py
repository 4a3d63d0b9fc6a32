"""The weights of the best moment of the last phase, measured on parts that are not trained on.

Late steps may learn the trained parts by heart. The weights are checked at even distances in the
second half of the last phase, and those of the best check become the detector's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from edge_ad.training.averaging import WeightAverage, trained_tensors

FIRST = 0.5  # share of the phase after which the weights are checked


class BestWeights:
    """Keeps the trained weights of the highest `score`, which is called `checks` times."""

    def __init__(self, module: nn.Module, score: Callable[[], float], checks: int) -> None:
        self._module, self._score, self._checks = module, score, checks
        self.state: dict[str, Any] = {"checks": [], "values": {}}

    def after_step(self, share: float, average: WeightAverage | None) -> None:
        """Check the weights, or their average, where a check is due after a share of the phase."""
        done = len(self.state["checks"])
        if done >= self._checks or share < self._due(done):
            return
        current = {name: t.detach().clone() for name, t in trained_tensors(self._module).items()}
        if average is not None:
            average.apply()
        score = self._score()
        if score > max(self.state["checks"], default=-math.inf):
            self.state["values"] = {
                name: t.detach().clone() for name, t in trained_tensors(self._module).items()
            }
        self.state["checks"].append(score)
        self._restore(current)

    def apply(self) -> None:
        """Replace the weights by the best ones, if any were checked."""
        if self.state["values"]:
            self._restore(self.state["values"])

    def _due(self, number: int) -> float:
        return FIRST + (1 - FIRST) * (number + 1) / self._checks

    @torch.no_grad()
    def _restore(self, values: dict[str, torch.Tensor]) -> None:
        for name, tensor in trained_tensors(self._module).items():
            tensor.copy_(values[name])
