"""A prior for a method with a frozen teacher: how far the teacher's features are from normal ones.

It costs one matrix product, since the teacher runs anyway, and nothing in it is trained: it judges
parts that were not trained on nearly as it does the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Self

from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.layers.map_upscale import MapUpscale, default_sigma
from edge_ad.methods.layers.patch_features import Cells, join_levels, scaled_cells

LEAST_DEVIATION = 0.01  # of the mean; that of one image alone is 0, and says nothing of others


class ScoreSpread(NamedTuple):
    """Mean and deviation of the image scores of normal images, not less than LEAST_DEVIATION."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: Tensor) -> Self:
        """Measure scores (n,)."""
        mean, deviation = float(scores.double().mean()), float(scores.double().std(correction=0))
        return cls(mean, max(deviation, LEAST_DEVIATION * abs(mean), 1e-12))


class FeaturePrior(nn.Module):
    """Adds the distance of a teacher's features to a map, both in deviations of normal images.

    `nearness` takes patch features (N, D, h, w) to distances (N, 1, h, w), `grid_hw` is the size of
    the teacher's finest level, and `cells` that of `scaled_cells`. Until `calibrate` the two are
    added as they are.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self, nearness: nn.Module, grid_hw: SizeHW, size_hw: SizeHW, cells: Cells = "plain"
    ) -> None:
        super().__init__()
        self.cells: Cells = cells
        self.nearness = nearness
        self.upscale = MapUpscale(grid_hw, size_hw, default_sigma(size_hw))
        self.register_buffer("centre", torch.zeros(2))
        self.register_buffer("spread", torch.ones(2))

    def features(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the patch features (N, D, h, w) of the teacher's levels, finest first."""
        return join_levels(scaled_cells(levels, self.cells))

    def distance(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the map (N, H, W) of distances of the teacher's levels."""
        distance: Tensor = self.upscale(self.nearness(self.features(levels)))
        return distance

    def calibrate(self, anomaly_map: ScoreSpread, distance: ScoreSpread) -> None:
        """Set mean and deviation of the image scores of both maps on held-back normal images."""
        for place, (centre, spread) in enumerate((anomaly_map, distance)):
            self.centre[place], self.spread[place] = centre, spread

    def forward(self, levels: Sequence[Tensor], anomaly_map: Tensor) -> Tensor:
        """Return the sum of both maps (N, H, W), each less its mean, over its deviation."""
        return self.fused(anomaly_map, self.distance(levels))

    def fused(self, anomaly_map: Tensor, distance: Tensor) -> Tensor:
        """Return the sum of two maps (N, H, W) as `forward` does."""
        scale, shift = 1 / self.spread, (self.centre / self.spread).sum()
        return anomaly_map * scale[0] + distance * scale[1] - shift
