"""Blocks of more than one method's network, and their constraints on the image size."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.methods.layers.ssim import gaussian

SizeHW = tuple[int, int]


def conv_bn_relu(*channels: int, bias: bool = True) -> nn.Sequential:
    """Return 3x3 convolution, batch norm and ReLU, once per step between channel counts."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(channels):
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def conv_bn(inputs: int, outputs: int, act: nn.Module, *, stride: int = 1) -> list[nn.Module]:
    """Return the layers of one 3x3 convolution with batch norm and activation."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
    return [conv, nn.BatchNorm2d(outputs), act]


class BilinearUpBlock(nn.Module):
    """Bilinear upsampling, then convolutions; a skip is concatenated behind the first.

    `up` are the channels before and after the first convolution, `merge` those after it, `skip`
    the channels that come from the encoder.
    """

    def __init__(
        self, up: tuple[int, int], merge: tuple[int, ...], *, skip: int = 0, align_corners: bool
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.up = conv_bn_relu(*up)
        self.merge = conv_bn_relu(up[1] + skip, *merge)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=self.align_corners)
        x = self.up(x)
        x = x if skip is None else torch.cat([x, skip], dim=1)
        merged: Tensor = self.merge(x)
        return merged


def encode(levels: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """Return each level's output; 2x2 max pooling halves the size between levels."""
    outputs: list[Tensor] = []
    for level in levels:
        x = level(F.max_pool2d(x, 2) if outputs else x)
        outputs.append(x)
    return outputs


def mean_filter(x: Tensor, side: int) -> Tensor:
    """Return the mean over side x side pixels of (N, C, H, W), zero padding.

    Two one-dimensional passes: equal to one square one and cheaper.
    """
    x = F.avg_pool2d(x, (side, 1), stride=1, padding=(side // 2, 0))
    return F.avg_pool2d(x, (1, side), stride=1, padding=(0, side // 2))


class ImageNetNorm(nn.Module):
    """Normalise rgb in [0, 1] by a mean and deviation as pretrained networks expect, ImageNet's."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__()
        self.register_buffer("mean", _per_channel(*mean), persistent=False)
        self.register_buffer("std", _per_channel(*std), persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        return (rgb - self.mean) / self.std


class Smooth(nn.Module):
    """Gaussian blur of a map (N, 1, H, W), normalised at the border; none for sigma 0."""

    bell: Tensor
    weight: Tensor

    def __init__(self, size_hw: SizeHW, sigma: float) -> None:
        super().__init__()
        self.side = 2 * math.ceil(3 * sigma) + 1
        bell = gaussian(self.side, max(sigma, 1e-3)).view(1, 1, self.side, 1)
        self.register_buffer("bell", bell, persistent=False)
        inside = self._blur(torch.ones(1, 1, *size_hw), bell)
        self.register_buffer("weight", inside, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x if self.side == 1 else self._blur(x, self.bell) / self.weight

    def _blur(self, x: Tensor, bell: Tensor) -> Tensor:
        half = self.side // 2
        x = F.conv2d(x, bell, padding=(half, 0))
        return F.conv2d(x, bell.transpose(2, 3), padding=(0, half))


def default_top_k(size_hw: SizeHW) -> int:
    """Return DeSTSeg's 100 pixels at 256x256, scaled with the area, for a score of the largest."""
    return min(3840, max(1, round(100 * size_hw[0] * size_hw[1] / 256**2)))


def check_top_k(top_k: int, size_hw: SizeHW) -> None:
    """Raise UsageError for a score of more pixels than a map has."""
    if top_k > size_hw[0] * size_hw[1]:
        raise UsageError(
            f"top_k {top_k} exceeds the pixels of a {size_hw[0]}x{size_hw[1]} map; "
            "give a smaller one."
        )


def check_divisible(size_hw: SizeHW, by: int, method: str) -> None:
    """Raise UsageError when a method whose levels halve cannot take this size."""
    if any(side < by or side % by for side in size_hw):
        near = " x ".join(str(max(by, round(side / by) * by)) for side in size_hw)
        raise UsageError(
            f"{method} takes heights and widths that are multiples of {by}, got "
            f"{size_hw[0]} x {size_hw[1]} (height x width). The nearest it can take: {near}."
        )


def unit(x: Tensor, eps: float = 1e-6) -> Tensor:
    """Scale x to length 1 along the channels; all-zero vectors stay zero, in fp16 too."""
    return x * torch.rsqrt((x * x).sum(dim=1, keepdim=True) + eps)


def _per_channel(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def mosaic(rgb: Tensor, side: int) -> Tensor:
    """Replace every tile of `side` pixels of (N, 3, H, W) by its mean; H and W are multiples."""
    return F.interpolate(F.avg_pool2d(rgb, side), scale_factor=float(side), mode="nearest")
