"""PatchCore (Roth et al., CVPR 2022): distance to the nearest of remembered normal patches.

Features, distances, map and score follow the released code: distances are squared, the map is
smoothed, and the score is the largest distance of any patch. The paper's score, which the released
code does not have, is `score=weighted` (eq. 7).
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import Self, override

from edge_ad.manifest import Score
from edge_ad.methods.layers.backbone import Backbone
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.layers.map_upscale import MOST_SIGMA, SIGMA_PX, MapUpscale, default_sigma
from edge_ad.methods.layers.patch_features import Cells, Level, PatchFeatures
from edge_ad.methods.layers.patch_memory import PatchMemory, affordable_rows, nearest
from edge_ad.methods.method import Config, Method


class PatchCoreConfig(Config):
    """Configuration of the network.

    `pooled` are the released code's two feature dimensions; None keeps each channel's own mean over
    the `patch`, as in the paper. `cells` is that of `scaled_cells`; the paper's are plain.
    `rows` is the size of the memory; None takes as many as may cost `distance_share` of the
    backbone's operations. `score` is the largest distance of a patch, the map's maximum, or the
    distance weighted by the `neighbours` of the nearest row (eq. 7).
    `smooth_sigma` is in pixels; None scales the released 4 pixels at 224 with the image.
    """

    backbone: Backbone = "resnet18"
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=3)] = (2, 3)
    patch: Literal[1, 3, 5] = 3
    pooled: tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]] | None = None
    cells: Cells = "plain"
    rows: Annotated[int, Field(ge=1)] | None = None
    distance_share: Annotated[float, Field(gt=0, le=100)] = 0.5
    score: Literal["patches", "map", "weighted"] = "patches"
    neighbours: Annotated[int, Field(ge=2, le=64)] = 9
    smooth_sigma: Annotated[float, Field(ge=0, le=MOST_SIGMA)] | None = SIGMA_PX

    @model_validator(mode="after")
    def _compare_rows(self) -> Self:
        if self.rows == 1 and self.score == "weighted":
            raise ValueError("score=weighted compares rows of the memory; one row scores 0 always")
        return self

    @override
    def for_size(self, size_hw: SizeHW) -> Self:
        changes: dict[str, object] = {}
        if self.rows is None:
            changes["rows"] = _affordable_rows(self, size_hw)
        if self.smooth_sigma is None:
            changes["smooth_sigma"] = default_sigma(size_hw)
        return self.model_copy(update=changes)

    def features(self) -> PatchFeatures:
        """Build the backbone and its patch features."""
        return PatchFeatures(
            self.backbone,
            self.levels,
            patch=self.patch,
            pooled=self.pooled,
            cells=self.cells,
        )


class PatchCore(nn.Module):
    """rgb float32 (N, 3, H, W) in [0, 1] -> anomaly_map float32 (N, H, W), anomaly_score (N,)."""

    neighbours: Tensor

    def __init__(self, config: PatchCoreConfig, size_hw: SizeHW) -> None:
        super().__init__()
        self.config, self.size_hw = config.for_size(size_hw), size_hw
        self.features = config.features()
        sigma = self.config.smooth_sigma or 0.0
        self.upscale = MapUpscale(self.features.grid(size_hw), size_hw, sigma)
        self.memory = PatchMemory(self.features.dimensions, 1)
        self.resize(self.config.rows or 1)

    def resize(self, rows: int) -> None:
        """Make room for a memory of `rows` rows; what it held is lost."""
        self.config = self.config.model_copy(update={"rows": rows})
        self.memory.resize(rows)
        near = min(self.config.neighbours, rows) if self.config.score == "weighted" else 0
        self.register_buffer("neighbours", torch.zeros(rows, near, dtype=torch.int64))

    @torch.no_grad()
    def remember(self, rows: Tensor) -> None:
        """Store features (rows, D) as the memory."""
        self.resize(len(rows))
        centred = self.memory.remember(rows)
        if self.neighbours.numel():
            self.neighbours.copy_(nearest_rows(centred, self.neighbours.shape[1]))

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        partial, squares = self.memory.products(self.features(rgb))
        grid = nearest(partial, squares)
        anomaly_map = self.upscale(grid)
        if self.config.score == "map":
            return anomaly_map, anomaly_map.flatten(1).amax(dim=1)
        if self.config.score == "patches":
            return anomaly_map, grid.flatten(1).amax(dim=1)
        return anomaly_map, self._weighted(grid.flatten(1), partial.flatten(2), squares.flatten(1))

    def _weighted(self, grid: Tensor, partial: Tensor, squares: Tensor) -> Tensor:
        """Return eq. 7: the largest distance, less where the nearest row lies among others.

        Its row's nearest rows are close to the patch too where normal patches are dense.
        """
        place = grid.argmax(dim=1, keepdim=True)
        here = partial.gather(2, place[:, None].expand(-1, partial.shape[1], -1))[:, :, 0]
        near = self.neighbours[here.argmin(dim=1)]
        distances = torch.relu(here.gather(1, near) + squares.gather(1, place)).sqrt()
        nearest = distances.amin(dim=1)
        return (1 - torch.softmax(distances, dim=1).amin(dim=1)) * nearest


def nearest_rows(rows: Tensor, count: int) -> Tensor:
    """Return the numbers of each row's nearest rows (rows, count), itself first."""
    parts = [torch.cdist(part, rows).topk(count, largest=False) for part in torch.split(rows, 1024)]
    near = torch.cat([part.indices for part in parts])
    near[:, 0] = torch.arange(len(rows))
    return near


@cache
def _affordable_rows(config: PatchCoreConfig, size_hw: SizeHW) -> int:
    with torch.device("meta"):
        features = config.features()
    return affordable_rows(features, config.distance_share, size_hw)


METHOD = Method(
    name="patchcore",
    config=PatchCoreConfig,
    build=PatchCore,
    score=lambda config, size_hw: Score(),
)
