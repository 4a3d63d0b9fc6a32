"""A small autoencoder; the map is the smoothed difference between image and repair."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from edge_ad.manifest import Score
from edge_ad.methods.layers.blocks import SizeHW, check_divisible, mean_filter
from edge_ad.methods.method import Config, Method

STRIDE = 4


class RepairConfig(Config):
    """`channels` of the first level; `smooth_px` is the side of the map's mean filter."""

    channels: Annotated[int, Field(ge=2, le=256)] = 32
    smooth_px: Literal[1, 3, 5, 7] = 5


class Repair(nn.Module):
    """rgb float32 (N, 3, H, W) in [0, 1] -> anomaly_map float32 (N, H, W), anomaly_score (N,)."""

    def __init__(self, config: RepairConfig, size_hw: SizeHW) -> None:
        super().__init__()
        check_divisible(size_hw, STRIDE, "Repair")
        self.config, self.size_hw = config, size_hw
        c = config.channels
        self.autoencoder = nn.Sequential(
            nn.Conv2d(3, c, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(c, 2 * c, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * c, c, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(c, 3, 4, stride=2, padding=1),
        )

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        difference = (rgb - self.autoencoder(rgb)).abs().mean(dim=1, keepdim=True)
        anomaly_map = mean_filter(difference, self.config.smooth_px)[:, 0]
        return anomaly_map, anomaly_map.flatten(1).amax(dim=1)


METHOD = Method(
    name="repair",
    config=RepairConfig,
    build=Repair,
    score=lambda config, size_hw: Score(),  # the largest value of the map
)
