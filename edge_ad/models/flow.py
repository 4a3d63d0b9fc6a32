"""Two-dimensional normalising flow on feature maps (FastFlow, Yu et al. 2021, section 3.2).

Steps of affine coupling turn normal features into a standard normal law; features of another kind
land far from its centre. All of it can be undone, and the density's change is known exactly.
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
    """One coupling: half of the channels decide scale and shift of the rest; then all are shuffled.

    x -> y, both (N, C, H, W), and log |dy/dx| (N,). The order of the shuffle is a buffer.
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
        deciding, moved = torch.split(x, [self.active, self.passive], dim=1)
        log_scale, shift = self._decide(deciding)
        y = torch.cat([deciding, moved * torch.exp(log_scale) + shift], dim=1)
        gain = self.gain()
        change = log_scale.sum(dim=(1, 2, 3)) + gain.log().sum() * (x.shape[2] * x.shape[3])
        return (y * gain + self.offset).index_select(1, self.order), change

    def inverse(self, y: Tensor) -> Tensor:
        """What `forward` made `y` of."""
        unshuffled = y.index_select(1, torch.argsort(self.order))
        unshuffled = (unshuffled - self.offset) / self.gain()
        deciding, moved = torch.split(unshuffled, [self.active, self.passive], dim=1)
        log_scale, shift = self._decide(deciding)
        return torch.cat([deciding, (moved - shift) * torch.exp(-log_scale)], dim=1)

    def gain(self) -> Tensor:
        """The per-channel factor, positive; one at the start. (1, C, 1, 1)."""
        return 0.1 * F.softplus(self.scale, beta=0.5)

    def _decide(self, deciding: Tensor) -> tuple[Tensor, Tensor]:
        """Log-scale, bounded by the clamp so that half precision is safe, and shift."""
        raw, shift = (self.subnet(deciding) * self.pre_scale).chunk(2, dim=1)
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
        """The normalised features that `z` came from."""
        for step in reversed(self.steps):
            assert isinstance(step, Step)
            z = step.inverse(z)
        return z


class FoldedStep(nn.Module):
    """A step whose channels stay where they are: the shuffles are folded into its weights.

    `place` says where each of the step's channels lies. The deciding half meets zero weights for
    what is moved and the other way round, so there is no Gather, at twice the multiplications.
    """

    def __init__(self, step: Step, place: Tensor) -> None:
        super().__init__()
        channels = step.active + step.passive
        first, second = step.subnet[0], step.subnet[2]
        assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)
        self.clamp = step.clamp
        self.into = _widened_inputs(first, place[: step.active], channels)
        moved = place[step.active :]
        self.out = _widened_outputs(second, moved, channels, step.pre_scale)
        gain, offset = torch.empty(1, channels, 1, 1), torch.empty(1, channels, 1, 1)
        gain[:, place], offset[:, place] = step.gain().detach(), step.offset.detach()
        self.gain, self.offset = nn.Parameter(gain), nn.Parameter(offset)

    def forward(self, x: Tensor) -> Tensor:
        raw, shift = self.out(torch.relu(self.into(x))).chunk(2, dim=1)
        scaled: Tensor = x * torch.exp(self.clamp * torch.tanh(raw)) + shift
        return scaled * self.gain + self.offset


class FoldedFlow(nn.Module):
    """A flow for judging alone: z with its channels in another order, and no log-determinant."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.norm = flow.norm
        place = torch.arange(flow.norm.normalized_shape[0])
        steps = []
        for step in flow.steps:
            assert isinstance(step, Step)
            steps.append(FoldedStep(step, place))
            place = place[step.order]
        self.steps = nn.Sequential(*steps)

    def forward(self, features: Tensor) -> Tensor:
        z: Tensor = self.steps(self.norm(features))
        return z


def _widened_inputs(conv: nn.Conv2d, places: Tensor, channels: int) -> nn.Conv2d:
    """The same convolution over all channels, blind to those that are not in `places`."""
    wide = nn.Conv2d(channels, conv.out_channels, conv.kernel_size, padding=conv.padding)  # type: ignore[arg-type]
    with torch.no_grad():
        wide.weight.zero_()
        wide.weight[:, places] = conv.weight
        assert wide.bias is not None and conv.bias is not None
        wide.bias.copy_(conv.bias)
    return wide


def _widened_outputs(conv: nn.Conv2d, places: Tensor, channels: int, scale: float) -> nn.Conv2d:
    """Raw log-scale and shift for all channels, scaled; zero for those not in `places`."""
    wide = nn.Conv2d(conv.in_channels, 2 * channels, conv.kernel_size, padding=conv.padding)  # type: ignore[arg-type]
    rows = torch.cat([places, places + channels])
    with torch.no_grad():
        assert wide.bias is not None and conv.bias is not None
        wide.weight.zero_()
        wide.bias.zero_()
        wide.weight[rows] = conv.weight * scale
        wide.bias[rows] = conv.bias * scale
    return wide
