"""PMB (reconstructed): partition memories and Histogram Error Estimation (IEEE TCSVT 33(8), 2023).

A U-Net restores the image; on alternate levels its lateral path is not the skip itself but what a
memory of normal patterns recalls of it, so anomalous parts come back wrong. Rebuilt from the
paper's abstract: widths, levels, queries, losses and the histogram's rule are choices of ours.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from edge_ad.manifest import Score
from edge_ad.methods.layers.blocks import (
    SizeHW,
    Smooth,
    check_divisible,
    conv_bn_relu,
    encode,
    mosaic,
)
from edge_ad.methods.layers.msgms import MSGMS
from edge_ad.methods.method import Config, Method
from edge_ad.methods.pmb.histogram_cut import HistogramCut, above_cut
from edge_ad.methods.pmb.partition_memory import PartitionMemory, Query, Shrink

EVERYTHING = 1 << 30  # top_k of a score that is the mean over all pixels
Width = Annotated[int, Field(ge=4, le=1024)]
PMBError = Literal["absolute", "squared", "msgms"]


class PMBConfig(Config):
    """What shapes the network; the paper's abstract fixes none of it.

    `widths`, `lateral` and `partitions` go level by level from full size down; `partitions` counts
    the parts of a side and is ignored where a skip goes. `mosaic_px` above 1 shows the network
    only the means of tiles of so many pixels: their detail it must recall. `error`: of the values,
    or msgms, that of the edges, which another light leaves alone. `hee`: exact computes every
    image's cut in the graph, frozen uses the training images' median, off keeps the plain
    error. `score`: top is the mean of the `top_k` largest pixels, accumulated the mean of all.
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
    hee: Literal["exact", "frozen", "off"] = "exact"
    bins: Annotated[int, Field(ge=4, le=1024)] = 64
    eta: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    smooth_sigma: Annotated[float, Field(ge=0.0, le=32.0)] = 4.0
    score: Literal["top", "accumulated"] = "top"
    top_k: Annotated[int, Field(ge=1, le=3840)] = 100  # TensorRT's TopK ends at 3840


class UpBlock(nn.Module):
    """Transposed convolution to twice the size, the lateral path beside it, two convolutions."""

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
        self.config, self.size_hw = config, size_hw
        widths = (*config.widths, config.bottleneck)
        self.encoder = nn.ModuleList(
            conv_bn_relu(a, b, b, bias=False) for a, b in itertools.pairwise((3, *widths))
        )
        self.memories = nn.ModuleDict(_memories(config, size_hw))
        self.climbs = nn.ModuleList(UpBlock(a, b) for a, b in itertools.pairwise(widths[::-1]))
        self.out = nn.Conv2d(widths[0], 3, 3, padding=1)
        self.edges = MSGMS(scales=config.msgms_scales, c=config.msgms_c)
        self.histogram = HistogramCut(bins=config.bins, eta=config.eta)
        self.smooth = Smooth(size_hw, config.smooth_sigma)
        self.register_buffer("cut", torch.zeros(()))  # the frozen cut; training measures it

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        error = self.difference(rgb, self.restore(rgb)[0])
        if self.config.hee == "exact":
            error = above_cut(error, self.histogram(error))
        elif self.config.hee == "frozen":
            error = torch.relu(error - self.cut)
        anomaly_map = self.smooth(error)[:, 0]
        return anomaly_map, self.score(anomaly_map)

    def restore(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """The restoration (N, 3, H, W) in (0, 1), and the memories' mean addressing entropy."""
        side = self.config.mosaic_px
        *levels, x = encode(self.encoder, rgb if side == 1 else mosaic(rgb, side))
        entropies = []
        laterals = []
        for level, features in enumerate(levels):
            if self.config.lateral[level] == "pmb":
                features, entropy = self.memories[str(level)](features)
                entropies.append(entropy)
            laterals.append(features)
        for climb, lateral in zip(self.climbs, reversed(laterals), strict=True):
            x = climb(x, lateral)
        total = torch.stack(entropies).mean() if entropies else x.new_zeros(())
        return torch.sigmoid(self.out(x)), total

    def difference(self, rgb: Tensor, restored: Tensor) -> Tensor:
        """(N, 1, H, W): mean over the colours of the difference, as the configuration has it."""
        if self.config.error == "msgms":
            edges: Tensor = self.edges(rgb, restored)
            return edges
        gap = rgb - restored
        error = gap.abs() if self.config.error == "absolute" else gap.square()
        return error.mean(dim=1, keepdim=True)

    def score(self, anomaly_map: Tensor) -> Tensor:
        """(N,): mean of the largest pixels, or of all."""
        flat = anomaly_map.flatten(1)
        if self.config.score == "accumulated":
            return flat.mean(dim=1)
        return torch.topk(flat, self.config.top_k, dim=1).values.mean(dim=1)


def _divisor(config: PMBConfig) -> int:
    """What height and width must divide by: four halvings, whole partitions and mosaic tiles."""
    sides = [
        parts * 2**level
        for level, parts in enumerate(config.partitions)
        if config.lateral[level] == "pmb"
    ]
    coarsest = 2 ** (config.msgms_scales - 1) if config.error == "msgms" else 1
    return math.lcm(16, config.mosaic_px, coarsest, *sides)


def _memories(config: PMBConfig, size_hw: SizeHW) -> dict[str, PartitionMemory]:
    """One memory for each level whose lateral path goes through one."""
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


def _score(config: PMBConfig) -> Score:
    return Score(top_k=config.top_k if config.score == "top" else EVERYTHING)


METHOD = Method(name="pmb", config=PMBConfig, build=PMB, score=_score)
