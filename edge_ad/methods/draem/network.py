"""DRAEM (Zavrtanik et al., ICCV 2021): repair the image, then segment what the repair changed.

A reconstructive autoencoder learns to turn anomalous images into normal ones; a discriminative
U-Net gets the repair and the image and learns a local distance between the two (paper, section 3).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from typing_extensions import Self, override

from edge_ad.manifest import Score
from edge_ad.methods.layers.blocks import (
    BilinearUpBlock,
    SizeHW,
    check_divisible,
    conv_bn_relu,
    encode,
    mean_filter,
)
from edge_ad.methods.method import Config, Method

MOST_FILTER_PX = 101
Width = Annotated[int, Field(ge=4, le=256)]


def _odd(side: int) -> int:
    if side % 2 == 0:
        raise ValueError("an even number has no middle; give an odd one")
    return side


class DRAEMConfig(Config):
    """Configuration of the networks.

    `rec_base` and `seg_base` are the channels of the first level of each net, `color` the order of
    their input channels (the authors' code loads BGR), `mean_filter_px` the odd side of the mean
    filter before the maximum that is the score: 21 in the authors' code; None scales that, which
    is for 256x256, with the image.
    """

    rec_base: Width = 128
    seg_base: Width = 64
    align_corners: bool = True
    color: Literal["bgr", "rgb"] = "bgr"
    mean_filter_px: Annotated[int, Field(ge=1, le=MOST_FILTER_PX), AfterValidator(_odd)] | None = 21

    @override
    def for_size(self, size_hw: SizeHW) -> Self:
        return self.model_copy(update={"mean_filter_px": self.filter_px(size_hw)})

    def filter_px(self, size_hw: SizeHW) -> int:
        """Return the side of the score's mean filter."""
        return self.mean_filter_px or default_mean_filter(size_hw)


class Reconstructive(nn.Module):
    """Encoder and decoder without skips; linear output. (N, 3, H, W) -> (N, 3, H, W)."""

    def __init__(self, base: int, *, align_corners: bool) -> None:
        super().__init__()
        b, wide = base, 8 * base
        steps = [(3, b, b), (b, 2 * b, 2 * b), (2 * b, 4 * b, 4 * b), (4 * b, wide, wide)]
        self.encoder = nn.ModuleList(conv_bn_relu(*step) for step in [*steps, (wide, wide, wide)])
        up_blocks = [(wide, 4 * b), (4 * b, 2 * b), (2 * b, b), (b, b)]
        self.decoder = nn.ModuleList(
            BilinearUpBlock((c, c), (c, out), align_corners=align_corners) for c, out in up_blocks
        )
        self.out = nn.Conv2d(b, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = encode(self.encoder, image)[-1]
        for up in self.decoder:
            x = up(x)
        repair: Tensor = self.out(x)
        return repair


class Discriminative(nn.Module):
    """U-Net over repair and image: (N, 6, H, W) -> logits (N, 2, H, W), normal and anomalous."""

    def __init__(self, base: int, *, align_corners: bool) -> None:
        super().__init__()
        widths = [base, 2 * base, 4 * base, 8 * base, 8 * base, 8 * base]
        inputs = [6, *widths[:-1]]
        self.encoder = nn.ModuleList(
            conv_bn_relu(c, w, w) for c, w in zip(inputs, widths, strict=True)
        )
        # from, to, skip; in multiples of base
        up_blocks = [(8, 8, 8), (8, 4, 8), (4, 2, 4), (2, 1, 2), (1, 1, 1)]
        self.decoder = nn.ModuleList(
            BilinearUpBlock(
                (c * base, to * base),
                (to * base, to * base),
                skip=skip * base,
                align_corners=align_corners,
            )
            for c, to, skip in up_blocks
        )
        self.out = nn.Conv2d(base, 2, 3, padding=1)

    def forward(self, both: Tensor) -> Tensor:
        *skips, x = encode(self.encoder, both)
        for up, skip in zip(self.decoder, reversed(skips), strict=True):
            x = up(x, skip)
        logits: Tensor = self.out(x)
        return logits


class DRAEM(nn.Module):
    """rgb float32 (N, 3, H, W) in [0, 1] -> anomaly_map float32 (N, H, W), anomaly_score (N,).

    The map is the probability that a pixel is anomalous; the score its highest local mean.
    """

    def __init__(self, config: DRAEMConfig, size_hw: SizeHW) -> None:
        super().__init__()
        check_divisible(size_hw, 32, "DRAEM")
        self.config, self.size_hw = config.for_size(size_hw), size_hw
        self.filter_px = config.filter_px(size_hw)
        self.reconstructive = Reconstructive(config.rec_base, align_corners=config.align_corners)
        self.discriminative = Discriminative(config.seg_base, align_corners=config.align_corners)
        self.apply(initialise)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(self.coloured(rgb))[1]
        # the softmax of two classes, without a softmax at full size
        anomaly_map = torch.sigmoid(logits[:, 1] - logits[:, 0])
        return anomaly_map, self.score(anomaly_map)

    def coloured(self, rgb: Tensor) -> Tensor:
        """Return the channels in the order the networks were trained on."""
        return rgb.flip(1) if self.config.color == "bgr" else rgb

    def logits(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return repair (N, 3, H, W) and logits (N, 2, H, W) of an image in `color` order."""
        repair = self.reconstructive(image)
        return repair, self.discriminative(torch.cat([repair, image], dim=1))

    def score(self, anomaly_map: Tensor) -> Tensor:
        """Return the maximum of the mean-filtered map (N,), as the authors' code does."""
        smooth = mean_filter(anomaly_map[:, None], self.filter_px)
        return smooth.flatten(1).amax(dim=1)


def initialise(module: nn.Module) -> None:
    """Draw convolutions from N(0, 0.02), batch-norm scales from N(1, 0.02): the authors' code."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def default_mean_filter(size_hw: SizeHW) -> int:
    """Return the released code's 21 pixels at 256x256, scaled with the side, odd, at most 101."""
    side = 21 * math.sqrt(size_hw[0] * size_hw[1]) / 256
    return min(MOST_FILTER_PX, max(1, 2 * round((side - 1) / 2) + 1))


METHOD = Method(
    name="draem",
    config=DRAEMConfig,
    build=DRAEM,
    score=lambda config, size_hw: Score(mean_filter_px=config.filter_px(size_hw)),
)
