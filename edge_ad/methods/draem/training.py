"""DRAEM's training (paper, section 3; schedule, opacity and augmentation of the released code)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from edge_ad.methods.draem.network import DRAEM, DRAEMConfig
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.layers.ssim import ssim_loss
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.losses import smooth_focal_loss
from edge_ad.methods.learning.presets import ALL_AS_PUBLISHED
from edge_ad.methods.learning.settings import (
    LearningRate,
    LossWeight,
    Steps,
    Tiles,
    TrainingSettings,
    decayed,
)
from edge_ad.methods.learning.trainer import BranchChoice, MethodTraining, Phase
from edge_ad.synthesis.anomalies import SynthesisConfig
from edge_ad.synthesis.augment import AugmentedTextures
from edge_ad.synthesis.textures import Textures

EPOCHS = 700  # of the released code
Share = Annotated[float, Field(gt=0, le=1)]


class DRAEMSettings(TrainingSettings):
    """The released code's schedule: 700 epochs of the images, unless `steps` are given.

    `ssim_range` is the range of values in the structural similarity; None takes the released
    code's, which is 1, and 2 for a batch whose repair falls below -0.5. `lr` falls to `decay` of
    itself at each share of the steps in `decay_at`. Normal parts are rotated by up to 90 degrees in
    3 of 10 samples; `--rotation none` turns that off.
    """

    batch: Tiles = 8
    steps: Steps | None = None
    lr: LearningRate = 1e-4
    decay: Share = 0.2
    decay_at: tuple[Share, ...] = (0.8, 0.9)
    l2: LossWeight = 1.0
    ssim: LossWeight = 1.0
    focal: LossWeight = 1.0
    gamma: Annotated[float, Field(ge=0)] = 2.0
    focal_eps: Annotated[float, Field(ge=0, lt=0.5)] = 1e-5
    ssim_range: Annotated[float, Field(gt=0)] | None = None
    texture_augmentation: bool = True
    network: DRAEMConfig = DRAEMConfig(mean_filter_px=None)
    synthesis: SynthesisConfig = SynthesisConfig(
        anomaly_share=0.5,
        rotation="small",
        rotation_small_deg=90,
        rotation_share=0.3,
        rotation_fill=0,
    )

    def rate(self, done: float) -> float:
        return decayed(done, self.decay, self.decay_at) * super().rate(done)

    def prepare_textures(self, textures: Textures) -> Textures:
        return AugmentedTextures(textures) if self.texture_augmentation else textures


class DRAEMTrainer:
    """One phase: both networks together, from scratch."""

    def __init__(self, settings: DRAEMSettings, size_hw: SizeHW, teacher: Path | None) -> None:
        self.settings = settings
        self.module = DRAEM(settings.network, size_hw)
        self.expect(settings.batch)

    def expect(self, tiles: int) -> None:
        """Plan the steps for this many tiles."""
        steps = self.settings.steps or EPOCHS * math.ceil(tiles / self.settings.batch)
        self.phases = (Phase("both", steps, 1.0),)

    def begin(self, phase: str) -> Optimizer:
        self.module.train()
        return Adam(self.module.parameters(), self.settings.lr)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        """Compare the repair with the normal image, the segmentation with the mask.

        Gradients of the focal loss reach the reconstructive network, as in the released code.
        """
        net, s = self.module, self.settings
        repair, logits = net.logits(net.coloured(batch.anomalous))
        with torch.autocast(batch.normal.device.type, enabled=False):
            repair, logits, normal = repair.float(), logits.float(), net.coloured(batch.normal)
            return {
                "l2": s.l2 * (repair - normal).square().mean(),
                "ssim": s.ssim
                * ssim_loss(repair, normal, data_range=s.ssim_range or released_range(repair)),
                "focal": s.focal * smooth_focal_loss(logits, batch.mask, s.gamma, s.focal_eps),
            }

    @torch.inference_mode()
    def choose(self, held_back: Batch) -> BranchChoice:
        """Measure the only map on held-back images."""
        net = self.module.eval()
        measured = measure(held_back, lambda rgb: {"map": net(rgb)})
        return BranchChoice(net.config, {"measured": measured})


def released_range(repair: Tensor) -> float:
    """Return the range that the released code takes the values of a batch to have."""
    return 2.0 if float(repair.detach().min()) < -0.5 else 1.0


TRAINING = MethodTraining(
    "draem",
    DRAEMSettings,
    DRAEMTrainer,
    presets={
        "edge": {
            "network.rec_base": 16,
            "network.seg_base": 16,
            "steps": 3000,
            "lr": 1e-3,
            "ssim_range": 1.0,
            "synthesis.rotation": "none",
            "synthesis.anomaly_share": 0.75,
            "synthesis.structural_share": 0.5,
        },
        "paper": {**ALL_AS_PUBLISHED, "repetition": True},
    },
)
