"""CL-Flow (reconstructed): a contrastive 2-D flow on frozen features (Wang et al., ISPP 2024).

The base is FastFlow as published: a flow maps a frozen backbone's features of normal parts to a
standard normal distribution. In training, latents of synthetic anomalies are pushed away from those
of normal tiles; this contrastive part is rebuilt from the abstract, see the training module.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self, override

from edge_ad.manifest import Score
from edge_ad.methods.clflow.flow import Flow, Kernels
from edge_ad.methods.layers.backbone import CHANNELS, build_trunk, input_norm
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.method import Config, Method

Backbone = Literal["resnet18", "wide_resnet50_2"]


class CLFlowConfig(Config):
    """Configuration of the network.

    `backbone`: the network of the frozen features. `kernels`: 3x3 in every step, or 3x3 and 1x1 in
    turn. `hidden_ratio`: channels inside a step's subnet over its input channels; 0.16 is light.
    `clamp` bounds a step's log-scale, `pre_scale` scales down its subnet's output.
    """

    backbone: Backbone = "wide_resnet50_2"
    flow_steps: Annotated[int, Field(ge=1, le=64)] = 8
    kernels: Kernels = "alternate"
    hidden_ratio: Annotated[float, Field(gt=0.0, le=4.0)] = 1.0
    clamp: Annotated[float, Field(gt=0.0, le=5.0)] = 2.0
    pre_scale: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1


class CLFlow(nn.Module):
    """rgb float32 (N, 3, H, W) in [0, 1] -> anomaly_map float32 (N, H, W), anomaly_score (N,).

    The map is 1 - exp(-|z|^2 / 2C), mean over three levels, in [0, 1); the score its maximum.
    """

    def __init__(self, config: CLFlowConfig, size_hw: SizeHW) -> None:
        super().__init__()
        self.config, self.size_hw = config, size_hw
        channels = CHANNELS[config.backbone]
        self.backbone = build_trunk(config.backbone)
        self.backbone.eval().requires_grad_(requires_grad=False)
        self.flows = nn.ModuleList(
            Flow(
                (c, *size),
                steps=config.flow_steps,
                kernels=config.kernels,
                ratio=config.hidden_ratio,
                clamp=config.clamp,
                pre_scale=config.pre_scale,
            )
            for c, size in zip(channels, level_sizes(size_hw), strict=True)
        )
        self.head = nn.Linear(sum(channels), 2)  # a classifier for training; inference ignores it
        self.norm = input_norm(config.backbone)

    @override
    def train(self, mode: bool = True) -> Self:
        """Set the mode as torch does, but keep the frozen backbone in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(rgb)
        latents = [flow(level)[0] for flow, level in zip(self.flows, features, strict=True)]
        return self.map_and_score(latents)

    def features(self, rgb: Tensor) -> tuple[Tensor, ...]:
        """Return the backbone's three levels."""
        levels: tuple[Tensor, ...] = self.backbone(self.norm(rgb))
        return levels

    def map_and_score(self, latents: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return map (N, H, W) and score (N,) of the levels' latents."""
        likely = [torch.exp(-0.5 * z.square().mean(dim=1, keepdim=True)) for z in latents]
        maps = [
            F.interpolate(p, size=self.size_hw, mode="bilinear", align_corners=False)
            for p in likely
        ]
        anomaly_map = 1 - torch.stack(maps).mean(dim=0)[:, 0]
        return anomaly_map, anomaly_map.flatten(1).amax(dim=1)


def level_sizes(size_hw: SizeHW) -> tuple[SizeHW, ...]:
    """Return heights and widths of the backbone's levels: 1/4, 1/8, 1/16, rounded up."""
    height, width = size_hw
    return tuple((-(-height // step), -(-width // step)) for step in (4, 8, 16))


METHOD = Method(
    name="clflow",
    config=CLFlowConfig,
    build=CLFlow,
    score=lambda config, size_hw: Score(),
)
