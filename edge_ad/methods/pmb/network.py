"""PMB (reconstructed): partition memories and Histogram Error Estimation (IEEE TCSVT 33(8), 2023).

A U-Net restores the image; on alternate levels a memory of normal patterns replaces the skip
connection by what it recalls, so anomalous parts are restored wrong. Reconstructed from the paper's
abstract: widths, levels, queries, losses and the histogram's rule are our choices.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import Self, override

from edge_ad.manifest import Score
from edge_ad.methods.layers.blocks import (
    SizeHW,
    Smooth,
    check_divisible,
    check_top_k,
    conv_bn_relu,
    default_top_k,
    encode,
    mosaic,
)
from edge_ad.methods.layers.msgms import MSGMS
from edge_ad.methods.method import Config, Method
from edge_ad.methods.pmb.histogram_cut import HistogramCut, above_cut
from edge_ad.methods.pmb.partition_memory import PartitionMemory, Query, Shrink

MOST_SIGMA = 32.0
ALL_PIXELS = 1 << 30  # top_k of a score that is the mean over all pixels
Width = Annotated[int, Field(ge=4, le=1024)]
PMBError = Literal["absolute", "squared", "msgms"]


class PMBConfig(Config):
    """Configuration of the network; the paper's abstract fixes none of it.

    `widths`, `lateral` and `partitions` list the levels from full size down; `partitions` counts
    the parts of a side and is ignored at levels with a skip. `mosaic_px` above 1 shows the network
    only the means of tiles of that many pixels: it must recall their detail. `error`: of the
    values, or msgms, that of the edges, which does not depend on the light. `hee`: exact computes
    every image's cut in the graph, frozen uses the training images' median, off keeps the plain
    error; auto is exact until training has measured which is best. `score`: top is the mean of the
    `top_k` largest pixels, accumulated the mean of all. `smooth_sigma` and `top_k` None scale 4 and
    100, which are for 256x256, with the image.
    """

    widths: tuple[Width, Width, Width, Width] = (64, 128, 256, 512)
    bottleneck: Width = 512
    lateral: tuple[Literal["pmb", "skip"], ...] = Field(
        default=("pmb", "skip", "pmb", "skip"), min_length=4, max_length=4
    )
    partitions: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        default=(8, 8, 8, 8), min_length=4, max_length=4
    )
    items: Annotated[int, Field(ge=2, le=4096)] = 64
    query: Query = "channel"
    shrink: Shrink = "hard"
    temperature: Annotated[float, Field(gt=0.0, le=100.0)] = 1.0
    mosaic_px: Annotated[int, Field(ge=1, le=128)] = 1
    error: PMBError = "absolute"
    msgms_scales: Annotated[int, Field(ge=1, le=5)] = 3
    msgms_c: Annotated[float, Field(gt=0.0)] = 0.0026
    hee: Literal["exact", "frozen", "off", "auto"] = "exact"
    bins: Annotated[int, Field(ge=4, le=1024)] = 64
    eta: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    smooth_sigma: Annotated[float, Field(ge=0.0, le=MOST_SIGMA)] | None = 4.0
    score: Literal["top", "accumulated"] = "top"
    top_k: Annotated[int, Field(ge=1, le=3840)] | None = 100  # TensorRT's TopK ends at 3840

    @override
    def for_size(self, size_hw: SizeHW) -> Self:
        scaled = {"top_k": self.pixels(size_hw), "smooth_sigma": self.blur_sigma(size_hw)}
        return self.model_copy(update=scaled)

    def pixels(self, size_hw: SizeHW) -> int:
        """Return how many of the largest pixels the score averages."""
        return self.top_k or default_top_k(size_hw)

    def blur_sigma(self, size_hw: SizeHW) -> float:
        """Return the sigma in pixels of the error map's blur."""
        scaled = min(MOST_SIGMA, 4 * min(size_hw) / 256)
        return scaled if self.smooth_sigma is None else self.smooth_sigma


class PMBUpBlock(nn.Module):
    """Transposed convolution to twice the size, the lateral features, two convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, 2)
        self.merge = conv_bn_relu(2 * outputs, outputs, outputs, bias=False)

    def forward(self, x: Tensor, lateral: Tensor) -> Tensor:
        merged: Tensor = self.merge(torch.cat([self.up(x), lateral], dim=1))
        return merged


class PMB(nn.Module):
    """rgb float32 (N, 3, H, W) in [0, 1] -> anomaly_map float32 (N, H, W), anomaly_score (N,).

    The map is the smoothed error of the restoration above the cut of its histogram.
    """

    cut: Tensor

    def __init__(self, config: PMBConfig, size_hw: SizeHW) -> None:
        super().__init__()
        check_divisible(size_hw, _divisor(config), "PMB (reconstructed) with these partitions")
        self.config, self.size_hw = config.for_size(size_hw), size_hw
        self.top_k = config.pixels(size_hw)
        if config.score == "top":
            check_top_k(self.top_k, size_hw)
        widths = (*config.widths, config.bottleneck)
        self.encoder = nn.ModuleList(
            conv_bn_relu(a, b, b, bias=False) for a, b in itertools.pairwise((3, *widths))
        )
        self.memories = nn.ModuleDict(_memories(config, size_hw))
        levels = itertools.pairwise(widths[::-1])
        self.decoder = nn.ModuleList(PMBUpBlock(a, b) for a, b in levels)
        self.out = nn.Conv2d(widths[0], 3, 3, padding=1)
        self.edges = MSGMS(scales=config.msgms_scales, c=config.msgms_c)
        self.histogram = HistogramCut(bins=config.bins, eta=config.eta)
        self.smooth = Smooth(size_hw, config.blur_sigma(size_hw))
        self.register_buffer("cut", torch.zeros(()))  # the frozen cut; training measures it

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        error = self.difference(rgb, self.restore(rgb)[0])
        if self.config.hee == "frozen":
            error = torch.relu(error - self.cut)
        elif self.config.hee != "off":
            error = above_cut(error, self.histogram(error))
        anomaly_map = self.smooth(error)[:, 0]
        return anomaly_map, self.score(anomaly_map)

    def restore(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Return the restoration (N, 3, H, W) in (0, 1) and the mean addressing entropy."""
        side = self.config.mosaic_px
        *levels, x = encode(self.encoder, rgb if side == 1 else mosaic(rgb, side))
        entropies = []
        laterals = []
        for level, features in enumerate(levels):
            if self.config.lateral[level] == "pmb":
                features, entropy = self.memories[str(level)](features)
                entropies.append(entropy)
            laterals.append(features)
        for up, lateral in zip(self.decoder, reversed(laterals), strict=True):
            x = up(x, lateral)
        total = torch.stack(entropies).mean() if entropies else x.new_zeros(())
        return torch.sigmoid(self.out(x)), total

    def difference(self, rgb: Tensor, restored: Tensor) -> Tensor:
        """Return the configured error (N, 1, H, W), its mean over the colours."""
        if self.config.error == "msgms":
            edges: Tensor = self.edges(rgb, restored)
            return edges
        gap = rgb - restored
        error = gap.abs() if self.config.error == "absolute" else gap.square()
        return error.mean(dim=1, keepdim=True)

    def score(self, anomaly_map: Tensor) -> Tensor:
        """Return the mean of the largest pixels, or of all. (N,)."""
        flat = anomaly_map.flatten(1)
        if self.config.score == "accumulated":
            return flat.mean(dim=1)
        return torch.topk(flat, self.top_k, dim=1).values.mean(dim=1)


def _divisor(config: PMBConfig) -> int:
    """Return the divisor of height and width: four halvings, whole partitions and mosaic tiles."""
    sides = [
        parts * 2**level
        for level, parts in enumerate(config.partitions)
        if config.lateral[level] == "pmb"
    ]
    coarsest = 2 ** (config.msgms_scales - 1) if config.error == "msgms" else 1
    return math.lcm(16, config.mosaic_px, coarsest, *sides)


def _memories(config: PMBConfig, size_hw: SizeHW) -> dict[str, PartitionMemory]:
    """Make one memory for each level whose lateral path goes through one."""
    return {
        str(level): PartitionMemory(
            (config.widths[level], size_hw[0] >> level, size_hw[1] >> level),
            grid=config.partitions[level],
            items=config.items,
            query=config.query,
            shrink=config.shrink,
            temperature=config.temperature,
        )
        for level, way in enumerate(config.lateral)
        if way == "pmb"
    }


def _score(config: PMBConfig, size_hw: SizeHW) -> Score:
    return Score(top_k=config.pixels(size_hw) if config.score == "top" else ALL_PIXELS)


METHOD = Method(name="pmb", config=PMBConfig, build=PMB, score=_score)
