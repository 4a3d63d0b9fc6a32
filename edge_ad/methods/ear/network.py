"""EAR, Excision And Recovery (Park et al., Scientific Reports 2024): hide what stands out, restore.

An attention map marks pixels that may be anomalous; a coarse mosaic, a hint without detail,
replaces them; a U-Net trained on normal parts restores them; pixels where the edges of image and
restoration differ are anomalous. One deterministic mask instead of many random ones.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self, override

from edge_ad.errors import UsageError
from edge_ad.manifest import Score
from edge_ad.methods.ear.digit_attention import DigitAttention
from edge_ad.methods.layers.blocks import (
    ImageNetNorm,
    SizeHW,
    Smooth,
    check_divisible,
    check_top_k,
    conv_bn,
    mosaic,
)
from edge_ad.methods.layers.msgms import MSGMS
from edge_ad.methods.layers.vit import SHAPES, ViT
from edge_ad.methods.method import Config, Method

MOST_MOSAIC_PX = 128
Attention = Literal["none", "mnist", "dino_vits8", "dino_vits16", "dino_vitb8"]
SkipOff = Literal["none", "shallow", "middle", "deep"]
_LEVELS = {"auto": None, "none": None, "shallow": 0, "middle": 1, "deep": 2}


class EARConfig(Config):
    """Configuration of the network and the excision.

    `attention`: the network that marks pixels; none hides the whole image behind the mosaic, which
    is fast. `threshold_sigma`: a pixel is hidden where attention exceeds mean + this x standard
    deviation (0.674: the upper quartile of a normal distribution). `obfuscation` zero is the
    paper's first version. `mosaic_px`: side of a mosaic tile; None is 16 at 256x256, scaled with
    the side. `skip_off`: the U-Net's skip connection left out at inference; shallow is the one at
    full size; auto leaves none out until training has measured which is best. `smooth_sigma`: blur
    of the error map, 0 for none. `top_k`: the score is the mean of that many largest pixels; 1,
    the maximum, is the paper's.
    """

    attention: Attention = "dino_vits8"
    threshold_sigma: Annotated[float, Field(ge=-3.0, le=5.0)] = 0.674
    obfuscation: Literal["mosaic", "zero"] = "mosaic"
    mosaic_px: Annotated[int, Field(ge=2, le=MOST_MOSAIC_PX)] | None = 8
    widths: Annotated[tuple[Annotated[int, Field(ge=4, le=1024)], ...], Field(min_length=2)] = (
        64, 128, 256, 512, 512,
    )  # fmt: skip
    slope: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    skip_off: SkipOff | Literal["auto"] = "none"
    msgms_scales: Annotated[int, Field(ge=1, le=5)] = 3
    msgms_c: Annotated[float, Field(gt=0.0)] = 0.0026
    smooth_sigma: Annotated[float, Field(ge=0.0, le=32.0)] = 0.0
    top_k: Annotated[int, Field(ge=1, le=3840)] = 1  # TensorRT's TopK ends at 3840

    @override
    def for_size(self, size_hw: SizeHW) -> Self:
        return self.model_copy(update={"mosaic_px": self.tile_px(size_hw)})

    def tile_px(self, size_hw: SizeHW) -> int:
        """Return the side of a mosaic tile in pixels."""
        return self.mosaic_px or default_mosaic(size_hw)


class EARDownBlock(nn.Module):
    """Two convolutions, whose output is the skip connection, and one of stride 2."""

    def __init__(self, inputs: int, outputs: int, act: nn.Module) -> None:
        super().__init__()
        self.convs = nn.Sequential(*conv_bn(inputs, outputs, act), *conv_bn(outputs, outputs, act))
        self.down = nn.Sequential(*conv_bn(outputs, outputs, act, stride=2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        skip = self.convs(x)
        return skip, self.down(skip)


class EARUpBlock(nn.Module):
    """Nearest-neighbour upsampling, a convolution, the skip connection, two convolutions."""

    def __init__(self, inputs: int, outputs: int, act: nn.Module) -> None:
        super().__init__()
        self.up = nn.Sequential(*conv_bn(inputs, outputs, act))
        self.first, *rest = conv_bn(2 * outputs, outputs, act)
        self.rest = nn.Sequential(*rest, *conv_bn(outputs, outputs, act))

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Merge x and skip; without a skip, leave out half of the first convolution's weights."""
        x = self.up(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        if skip is not None:
            x = self.first(torch.cat([x, skip], dim=1))
        else:
            assert isinstance(self.first, nn.Conv2d)
            x = F.conv2d(x, self.first.weight[:, : x.shape[1]], self.first.bias, padding=1)
        merged: Tensor = self.rest(x)
        return merged


class UNet(nn.Module):
    """U-Net (N, 3, H, W) -> (N, 3, H, W); `off` is the level whose skip connection is left out."""

    def __init__(self, widths: tuple[int, ...], slope: float) -> None:
        super().__init__()
        act = nn.LeakyReLU(slope)
        *upper, last = widths
        levels = itertools.pairwise((3, *upper))
        self.encoder = nn.ModuleList(EARDownBlock(a, b, act) for a, b in levels)
        self.bottom = nn.Sequential(*conv_bn(upper[-1], last, act), *conv_bn(last, last, act))
        levels = itertools.pairwise(widths[::-1])
        self.decoder = nn.ModuleList(EARUpBlock(a, b, act) for a, b in levels)
        self.out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor, off: int | None = None) -> Tensor:
        skips: list[Tensor | None] = []
        for level, down in enumerate(self.encoder):
            skip, x = down(x)
            skips.append(None if level == off else skip)
        x = self.bottom(x)
        for up, kept in zip(self.decoder, reversed(skips), strict=True):
            x = up(x, kept)
        restored: Tensor = self.out(x)
        return restored


class EAR(nn.Module):
    """rgb float32 (N, 3, H, W) in [0, 1] -> anomaly_map float32 (N, H, W), anomaly_score (N,).

    The map is the MSGMS error between image and restoration, 0 to 1; the score is the
    mean of its `top_k` largest pixels.
    """

    def __init__(self, config: EARConfig, size_hw: SizeHW) -> None:
        super().__init__()
        _check_size(config, size_hw)
        self.config, self.size_hw = config.for_size(size_hw), size_hw
        self.tile_px = config.tile_px(size_hw)
        self.attention = _attention(config.attention, size_hw)
        self.unet = UNet(config.widths, config.slope)
        self.error = MSGMS(scales=config.msgms_scales, c=config.msgms_c)
        self.smooth = Smooth(size_hw, config.smooth_sigma)
        self.norm = ImageNetNorm()
        if self.attention is not None:
            self.attention.eval().requires_grad_(requires_grad=False)

    @override
    def train(self, mode: bool = True) -> Self:
        """Set the mode as torch does, but keep the frozen attention in eval mode."""
        super().train(mode)
        if self.attention is not None:
            self.attention.eval()
        return self

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        off = None if self.training else _LEVELS[self.config.skip_off]
        restored = self.restore(self.excise(rgb, self.salient(rgb)), off)
        anomaly_map = self.smooth(self.error(rgb, restored))[:, 0]
        return anomaly_map, self.score(anomaly_map)

    def score(self, anomaly_map: Tensor) -> Tensor:
        """Return the mean of the largest pixels (N,)."""
        flat = anomaly_map.flatten(1)
        if self.config.top_k == 1:
            return flat.amax(dim=1)
        return torch.topk(flat, self.config.top_k, dim=1).values.mean(dim=1)

    def salient(self, rgb: Tensor) -> Tensor | None:
        """Return (N, 1, H, W), 1 where a pixel is to be hidden; None when all of them are."""
        if self.attention is None:
            return None
        attention = self._attend(rgb)
        attention = F.interpolate(
            attention, size=self.size_hw, mode="bilinear", align_corners=False
        )
        # attention sums to one over the patches: about 1e-3 each, so scale before squaring
        attention = attention * (self.size_hw[0] * self.size_hw[1])
        mean = attention.mean(dim=(2, 3), keepdim=True)
        spread = (attention - mean).square().mean(dim=(2, 3), keepdim=True).sqrt()
        return torch.gt(attention, mean + self.config.threshold_sigma * spread).float()

    def excise(self, rgb: Tensor, salient: Tensor | None) -> Tensor:
        """Replace the salient pixels, or all, by the mosaic or zero."""
        hidden = rgb * 0 if self.config.obfuscation == "zero" else mosaic(rgb, self.tile_px)
        return hidden if salient is None else rgb * (1 - salient) + hidden * salient

    def restore(self, excised: Tensor, off: int | None = None) -> Tensor:
        """Return the U-Net's output, clipped to [0, 1]."""
        return torch.clamp(self.unet(excised, off), 0.0, 1.0)

    def _attend(self, rgb: Tensor) -> Tensor:
        assert self.attention is not None
        normalised = self.norm(rgb) if isinstance(self.attention, ViT) else rgb
        attention: Tensor = self.attention(normalised)
        return attention


def _attention(name: Attention, size_hw: SizeHW) -> nn.Module | None:
    if name == "none":
        return None
    return DigitAttention() if name == "mnist" else ViT(SHAPES[name], size_hw)


def _check_size(config: EARConfig, size_hw: SizeHW) -> None:
    halvings = 2 ** (len(config.widths) - 1)
    patch = SHAPES[config.attention].patch if config.attention in SHAPES else 4
    by = math.lcm(halvings, config.tile_px(size_hw), patch, 2 ** (config.msgms_scales - 1))
    check_divisible(size_hw, by, f"EAR with {len(config.widths)} levels and this mosaic")
    check_top_k(config.top_k, size_hw)
    off = _LEVELS[config.skip_off]
    if off is not None and off >= len(config.widths) - 1:
        raise UsageError(
            f"skip_off '{config.skip_off}' names a connection that a U-Net of "
            f"{len(config.widths)} levels does not have; it has {len(config.widths) - 1}."
        )


def default_mosaic(size_hw: SizeHW) -> int:
    """Return 16 pixels at 256x256, scaled with the shorter side, as a power of two up to 128."""
    return min(MOST_MOSAIC_PX, int(2 ** max(1, round(math.log2(16 * min(size_hw) / 256)))))


METHOD = Method(
    name="ear",
    config=EARConfig,
    build=EAR,
    score=lambda config, size_hw: Score(top_k=config.top_k),
)
