"""EAR's training: a U-Net restores normal parts from what excision leaves of them.

The journal paper (Scientific Reports 14:18872, 2024) leaves optimiser, schedule and loss weights
open as far as could be seen; they follow the same author's public code and are settings.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from edge_ad.errors import UsageError
from edge_ad.methods.ear.network import EAR, Attention, EARConfig, SkipOff
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.layers.ssim import ssim_map
from edge_ad.methods.layers.vit import ViT
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import best, measure
from edge_ad.methods.learning.frozen_features import FrozenFeatures
from edge_ad.methods.learning.losses import restoration_losses
from edge_ad.methods.learning.presets import RESTORATION
from edge_ad.methods.learning.settings import (
    LearningRate,
    LossWeight,
    Steps,
    Tiles,
    TrainingSettings,
)
from edge_ad.methods.learning.trainer import BranchChoice, MethodTraining, Phase
from edge_ad.methods.pretrained import fill, fill_vit, read_state
from edge_ad.synthesis.anomalies import SynthesisConfig

SKIPS: tuple[SkipOff, ...] = ("none", "shallow", "middle", "deep")
_SOURCES = {
    "mnist": "Train one with: edge-ad attention --digits DIGITS_DIR -o attention.pt",
    "dino": "Get one from github.com/facebookresearch/dino, like dino_deitsmall8_pretrain.pth.",
}


class EARSettings(TrainingSettings):
    """Adam, a linear warm-up over `warmup` of the steps, then a cosine down to `lr_end` of `lr`.

    The paper's best `network.mosaic_px` range from 2 to 64 with the product. `network.top_k` 1
    scores by the maximum, as the paper does; a net trained briefly is steadier with more.
    `anomaly_weight` weighs the losses once more at synthetic anomalies, which the paper's training
    does not have.
    """

    batch: Tiles = 16
    steps: Steps = 4500
    lr: LearningRate = 5e-4
    lr_end: Annotated[float, Field(gt=0, le=1)] = 0.2
    warmup: Annotated[float, Field(ge=0, lt=1)] = 5 / 300
    l2: LossWeight = 1.0
    ssim: LossWeight = 1.0
    msgms: LossWeight = 1.0
    anomaly_weight: LossWeight = 0.0
    network: EARConfig = EARConfig(mosaic_px=None)
    synthesis: SynthesisConfig = SynthesisConfig(anomaly_share=0.0)

    def rate(self, done: float) -> float:
        if done < self.warmup:
            return max(done, 1e-3) / self.warmup
        along = (done - self.warmup) / (1 - self.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, along)))
        return (self.lr_end + (1 - self.lr_end) * cosine) * super().rate(done)


class EARTrainer:
    """One phase: the U-Net alone. Salient pixels of a tile are computed once and cached."""

    def __init__(self, settings: EARSettings, size_hw: SizeHW, teacher: Path | None) -> None:
        self.settings = settings
        self.module = EAR(settings.network, size_hw)
        _load_attention(self.module, settings.network.attention, teacher)
        self.phases = (Phase("restore", settings.steps, 1.0),)
        self._salient = FrozenFeatures(self._salient_mask)

    def begin(self, phase: str) -> Optimizer:
        self.module.train()
        return Adam(self.module.unet.parameters(), self.settings.lr)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        """Compare the restoration with the whole normal image; every skip connection is on.

        The paper's training has no anomalies; where settings add them, they are to be restored.
        """
        net, s = self.module, self.settings
        restored = net.restore(net.excise(batch.anomalous, self.salient(batch)))
        with torch.autocast(batch.normal.device.type, enabled=False):
            restored, normal = restored.float(), batch.normal
            errors = {
                "l2": s.l2 * (restored - normal).square(),
                "ssim": s.ssim * (1 - ssim_map(restored, normal)),
                "msgms": s.msgms * net.error(normal, restored),
            }
            return restoration_losses(errors, batch.mask, s.anomaly_weight)

    @torch.no_grad()
    def salient(self, batch: Batch) -> Tensor | None:
        """Return the network's salient pixels, cached where tiles are unchanged."""
        if self.module.attention is None:
            return None
        synthesis = self.settings.synthesis
        if not synthesis.keeps_tiles or synthesis.anomaly_share > 0:
            return self.module.salient(batch.anomalous)
        return self._salient(batch.normal, batch.tile)[0].float()

    def _salient_mask(self, rgb: Tensor) -> list[Tensor]:
        salient = self.module.salient(rgb)
        assert salient is not None
        return [salient.bool()]

    @torch.inference_mode()
    def choose(self, held_back: Batch) -> BranchChoice:
        """Choose the skip connection to leave out at inference: as set, or the best measured."""
        net, requested = self.module.eval(), self.settings.network.skip_off
        measured = {}
        for skip in SKIPS[: len(net.config.widths)] if requested == "auto" else [requested]:
            net.config = net.config.model_copy(update={"skip_off": skip})
            measured[skip] = measure(held_back, lambda rgb: {"map": net(rgb)})["map"]
        chosen = best(measured)
        net.config = net.config.model_copy(update={"skip_off": chosen})
        return BranchChoice(net.config, {"skip_off": chosen, "measured": measured})


def _load_attention(net: EAR, name: Attention, path: Path | None) -> None:
    if net.attention is None:
        return
    kind = "mnist" if name == "mnist" else "dino"
    what = "edge-ad's digit attention" if name == "mnist" else f"{name} with DINO's names"
    if path is None:
        raise UsageError(
            f"EAR with attention {name} needs its weights: --teacher FILE, {what}. "
            f"{_SOURCES[kind]} Without: --set network.attention=none hides the whole image behind "
            "the mosaic."
        )
    if isinstance(net.attention, ViT):
        fill_vit(net.attention, path, what)
    else:
        fill(net.attention, read_state(path, what), path, what)


TRAINING = MethodTraining(
    "ear",
    EARSettings,
    EARTrainer,
    presets={
        "edge": {
            **RESTORATION,
            "steps": 6000,
            "network.attention": "none",
            # a coarse mosaic hides a surface's grain as well as its defects
            "network.mosaic_px": 2,
            "network.widths": (16, 32, 64, 128, 128),
        }
    },
)
