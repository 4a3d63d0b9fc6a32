"""Gaussian: one Gaussian of a frozen backbone's patch features, and the distance to it.

A light kin of PatchCore and of PaDiM (Defard et al., ICPR 2020), whose Gaussian for each position
needs aligned parts; here all positions share one, and no feature is left out.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from typing_extensions import Self, override

from edge_ad.manifest import Score
from edge_ad.methods.layers.backbone import Backbone
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.layers.gaussian_distance import GaussianDistance
from edge_ad.methods.layers.map_upscale import MOST_SIGMA, MapUpscale, default_sigma
from edge_ad.methods.layers.patch_features import Cells, Level, PatchFeatures
from edge_ad.methods.method import Config, Method


class GaussianConfig(Config):
    """Configuration of the network.

    `patch` is the side of the neighbourhood whose features are averaged; `cells` says how they are
    scaled, see `scaled_cells`. `smooth_sigma` of the map is in pixels; None scales 4 pixels at 224
    with the image.
    """

    backbone: Backbone = "resnet18"
    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=3)] = (2, 3)
    patch: Literal[1, 3, 5] = 3
    cells: Cells = "plain"
    smooth_sigma: Annotated[float, Field(ge=0, le=MOST_SIGMA)] | None = None

    @override
    def for_size(self, size_hw: SizeHW) -> Self:
        if self.smooth_sigma is not None:
            return self
        return self.model_copy(update={"smooth_sigma": default_sigma(size_hw)})


class Gaussian(nn.Module):
    """rgb float32 (N, 3, H, W) in [0, 1] -> anomaly_map float32 (N, H, W), anomaly_score (N,).

    The score is the map's maximum, as PaDiM's.
    """

    def __init__(self, config: GaussianConfig, size_hw: SizeHW) -> None:
        super().__init__()
        self.config, self.size_hw = config.for_size(size_hw), size_hw
        self.features = PatchFeatures(
            config.backbone, config.levels, patch=config.patch, cells=config.cells
        )
        self.gaussian = GaussianDistance(self.features.dimensions)
        sigma = self.config.smooth_sigma or 0.0
        self.upscale = MapUpscale(self.features.grid(size_hw), size_hw, sigma)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        anomaly_map = self.upscale(self.gaussian(self.features(rgb)))
        return anomaly_map, anomaly_map.flatten(1).amax(dim=1)


METHOD = Method(
    name="gaussian",
    config=GaussianConfig,
    build=Gaussian,
    score=lambda config, size_hw: Score(),
)
