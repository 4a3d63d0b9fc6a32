"""DRAEM's training (paper, section 3; schedule, opacity and augmentation of the released code)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from edge_ad.methods.draem.network import DRAEM, DRAEMConfig
from edge_ad.methods.layers.ssim import ssim_loss
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.losses import smooth_focal_loss
from edge_ad.methods.learning.trainer import (
    BranchChoice,
    MethodTraining,
    Phase,
    Tiles,
    TrainingSettings,
    decayed,
    shaped,
)
from edge_ad.synthesis.anomalies import SynthesisConfig
from edge_ad.synthesis.augment import AugmentedTextures
from edge_ad.synthesis.textures import Textures

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class DRAEMSettings(TrainingSettings):
    """The released code's schedule: 700 epochs of about 30 steps for a category of MVTec AD.

    `lr` falls to `decay` of itself at each share of the steps in `decay_at`. `mean_filter_px` None
    scales the code's 21 pixels at 256 with the image. Good parts are turned by up to 90 degrees
    for 3 in 10 samples; `--rotation none` leaves them as they lie.
    """

    batch: Tiles = 8
    steps: Annotated[int, Field(ge=2)] = 21000
    lr: Annotated[float, Field(gt=0)] = 1e-4
    decay: Share = 0.2
    decay_at: tuple[Share, ...] = (0.8, 0.9)
    rec_base: Annotated[int, Field(ge=4, le=256)] = 128
    seg_base: Annotated[int, Field(ge=4, le=256)] = 64
    align_corners: bool = True
    color: Literal["bgr", "rgb"] = "bgr"
    mean_filter_px: Annotated[int, Field(ge=1, le=101)] | None = None
    l2: Weight = 1.0
    ssim: Weight = 1.0
    focal: Weight = 1.0
    gamma: Weight = 2.0
    focal_eps: Annotated[float, Field(ge=0, lt=0.5)] = 1e-5
    ssim_range: Annotated[float, Field(gt=0)] = 1.0
    texture_augmentation: bool = True
    synthesis: SynthesisConfig = SynthesisConfig(
        anomaly_share=0.5,
        rotation="small",
        rotation_small_deg=90,
        rotation_share=0.3,
        rotation_fill=0,
    )

    def rate(self, done: float) -> float:
        return decayed(done, self.decay, self.decay_at) * super().rate(done)

    def changed(self, textures: Textures) -> Textures:
        return AugmentedTextures(textures) if self.texture_augmentation else textures


class DRAEMTrainer:
    """One phase: both networks together, from scratch."""

    def __init__(
        self, settings: DRAEMSettings, size_hw: tuple[int, int], teacher: Path | None
    ) -> None:
        self.settings = settings
        self.module = DRAEM(_config(settings, size_hw), size_hw)
        self.phases = (Phase("both", settings.steps, 1.0),)

    def begin(self, phase: str) -> Optimizer:
        self.module.train()
        return Adam(self.module.parameters(), self.settings.lr)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        """The repair against the clean image, the segmentation against the mask.

        Gradients of the focal loss reach the reconstructive network, as in the released code.
        """
        net, s = self.module, self.settings
        repair, logits = net.logits(net.coloured(batch.anomalous))
        with torch.autocast(batch.normal.device.type, enabled=False):
            repair, logits, clean = repair.float(), logits.float(), net.coloured(batch.normal)
            return {
                "l2": s.l2 * (repair - clean).square().mean(),
                "ssim": s.ssim * ssim_loss(repair, clean, data_range=s.ssim_range),
                "focal": s.focal * smooth_focal_loss(logits, batch.mask, s.gamma, s.focal_eps),
            }

    @torch.inference_mode()
    def choose(self, held_back: Batch) -> BranchChoice:
        """There is one map; how it does on held-back images is told."""
        net = self.module.eval()
        return BranchChoice(
            net.config, {"measured": measure(held_back, lambda rgb: {"map": net(rgb)})}
        )


def default_mean_filter(size_hw: tuple[int, int]) -> int:
    """The released code's 21 pixels at 256x256, scaled with the side and odd."""
    side = 21 * math.sqrt(size_hw[0] * size_hw[1]) / 256
    return max(1, 2 * round((side - 1) / 2) + 1)


def _config(settings: DRAEMSettings, size_hw: tuple[int, int]) -> DRAEMConfig:
    return shaped(
        DRAEMConfig,
        {
            "rec_base": settings.rec_base,
            "seg_base": settings.seg_base,
            "align_corners": settings.align_corners,
            "color": settings.color,
            "mean_filter_px": settings.mean_filter_px or default_mean_filter(size_hw),
        },
    )


TRAINING = MethodTraining(
    "draem",
    DRAEMSettings,
    DRAEMTrainer,
    presets={
        "edge": {
            "rec_base": 16,
            "seg_base": 16,
            "steps": 3000,
            "lr": 1e-3,
            "synthesis.rotation": "none",
            "synthesis.anomaly_share": 0.75,
            "synthesis.structural_share": 0.5,
        }
    },
)
