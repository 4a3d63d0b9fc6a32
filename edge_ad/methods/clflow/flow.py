"""Two-dimensional normalising flow on feature maps (FastFlow, Yu et al. 2021, section 3.2).

Steps of affine coupling map normal features to a standard normal distribution; other features are
mapped far from its centre. The flow is invertible, and its log-determinant is exact.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kernels = Literal["alternate", "3x3"]
UNIT_SCALE = 2 * math.log(math.exp(5) - 1)  # softplus of this, times 0.2, is one


class Step(nn.Module):
    """Affine coupling: half of the channels set scale and shift of the rest; then all are permuted.

    x -> y, both (N, C, H, W), and log |dy/dx| (N,). The permutation `order` is a buffer.
    """

    order: Tensor

    def __init__(
        self, channels: int, *, kernel: int, ratio: float, clamp: float, pre_scale: float
    ) -> None:
        super().__init__()
        self.clamp, self.pre_scale = clamp, pre_scale
        self.active = channels - channels // 2
        self.passive = channels // 2
        inner = max(1, int(self.active * ratio))
        self.subnet = nn.Sequential(
            nn.Conv2d(self.active, inner, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.Conv2d(inner, 2 * self.passive, kernel, padding=kernel // 2),
        )
        self.scale = nn.Parameter(torch.full((1, channels, 1, 1), UNIT_SCALE))
        self.offset = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.register_buffer("order", torch.randperm(channels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        conditioning, transformed = torch.split(x, [self.active, self.passive], dim=1)
        log_scale, shift = self.scale_and_shift(conditioning)
        y = torch.cat([conditioning, transformed * torch.exp(log_scale) + shift], dim=1)
        gain = self.gain()
        change = log_scale.sum(dim=(1, 2, 3)) + gain.log().sum() * (x.shape[2] * x.shape[3])
        return (y * gain + self.offset).index_select(1, self.order), change

    def inverse(self, y: Tensor) -> Tensor:
        """Return the input that `forward` maps to `y`."""
        unpermuted = y.index_select(1, torch.argsort(self.order))
        unpermuted = (unpermuted - self.offset) / self.gain()
        conditioning, transformed = torch.split(unpermuted, [self.active, self.passive], dim=1)
        log_scale, shift = self.scale_and_shift(conditioning)
        return torch.cat([conditioning, (transformed - shift) * torch.exp(-log_scale)], dim=1)

    def gain(self) -> Tensor:
        """Return the positive factor per channel (1, C, 1, 1), one at the start."""
        return 0.1 * F.softplus(self.scale, beta=0.5)

    def scale_and_shift(self, conditioning: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-scale, bounded by the clamp so that fp16 is safe, and shift."""
        raw, shift = (self.subnet(conditioning) * self.pre_scale).chunk(2, dim=1)
        return self.clamp * torch.tanh(raw), shift


class Flow(nn.Module):
    """Features of one level (N, C, H, W) -> latent z of the same shape and log |dz/dx| (N,)."""

    def __init__(
        self,
        feature_chw: tuple[int, int, int],
        *,
        steps: int,
        kernels: Kernels,
        ratio: float,
        clamp: float,
        pre_scale: float,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(feature_chw)
        self.steps = nn.ModuleList(
            Step(
                feature_chw[0],
                kernel=1 if kernels == "alternate" and index % 2 else 3,
                ratio=ratio,
                clamp=clamp,
                pre_scale=pre_scale,
            )
            for index in range(steps)
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(features)
        change = x.new_zeros(x.shape[0])
        for step in self.steps:
            x, more = step(x)
            change = change + more
        return x, change

    def inverse(self, z: Tensor) -> Tensor:
        """Return the normalised features that are mapped to `z`."""
        for step in reversed(self.steps):
            assert isinstance(step, Step)
            z = step.inverse(z)
        return z
