"""An average of the weights over the last steps, which generalises better than the last weights.

An exponential moving average (Polyak and Juditsky, 1992; as in "Mean teachers", Tarvainen and
Valpola, 2017, whose early steps count less).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that are trained, and all buffers."""
    trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
    return trained | dict(module.named_buffers())


class WeightAverage:
    """The average of the trained parameters and of all buffers; `values` is its state."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self.values = {
            name: tensor.detach().clone() for name, tensor in trained_tensors(self._module).items()
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step` of the phase, from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, tensor in trained_tensors(self._module).items():
            if tensor.is_floating_point():
                self.values[name].lerp_(tensor, 1 - decay)
            else:
                self.values[name].copy_(tensor)

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Continue from the values of a checkpoint."""
        for name, tensor in self.values.items():
            tensor.copy_(values[name])

    @torch.no_grad()
    def apply(self) -> None:
        """Replace the weights by their average."""
        for name, tensor in trained_tensors(self._module).items():
            tensor.copy_(self.values[name])
