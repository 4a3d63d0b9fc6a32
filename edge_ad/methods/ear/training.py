"""EAR's training: a U-Net restores good parts from what excision leaves of them.

The journal paper (Scientific Reports 14:18872, 2024) leaves optimiser, schedule and loss weights
open as far as could be seen; they follow the same author's public code and are settings.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from edge_ad.errors import UsageError
from edge_ad.methods.ear.network import EAR, Attention, EARConfig, SkipOff
from edge_ad.methods.layers.ssim import ssim_map
from edge_ad.methods.layers.vit import ViT
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.frozen_features import FrozenFeatures
from edge_ad.methods.learning.losses import restoration_losses
from edge_ad.methods.learning.presets import RESTORER
from edge_ad.methods.learning.trainer import (
    BranchChoice,
    MethodTraining,
    Phase,
    Tiles,
    TrainingSettings,
    shaped,
)
from edge_ad.methods.pretrained import fill, fill_vit, read_state
from edge_ad.synthesis.anomalies import SynthesisConfig

SKIPS: tuple[SkipOff, ...] = ("none", "shallow", "middle", "deep")
Weight = Annotated[float, Field(ge=0)]
_GET = {
    "mnist": "Train one with: edge-ad attention --digits DIGITS_DIR -o attention.pt",
    "dino": "Get one from github.com/facebookresearch/dino, like dino_deitsmall8_pretrain.pth.",
}


class EARSettings(TrainingSettings):
    """Adam, a linear warm-up over `warmup` of the steps, then a cosine down to `lr_end` of `lr`.

    `attention`, `obfuscation`, `widths` and the like shape the network, see `EARConfig`.
    `mosaic_px` None is 16 pixels at 256x256, scaled with the side; the paper's best range from 2
    to 64 with the product. `skip_off` auto measures which connection to leave out. `top_k` 1 scores
    by the maximum, as the paper does; a net trained briefly is steadier with more.
    `anomaly_weight` counts the losses once more on synthetic anomalies, which the paper does not
    use.
    """

    batch: Tiles = 16
    steps: Annotated[int, Field(ge=2)] = 4500
    lr: Annotated[float, Field(gt=0)] = 5e-4
    lr_end: Annotated[float, Field(gt=0, le=1)] = 0.2
    warmup: Annotated[float, Field(ge=0, lt=1)] = 5 / 300
    l2: Weight = 1.0
    ssim: Weight = 1.0
    msgms: Weight = 1.0
    anomaly_weight: Weight = 0.0
    attention: Attention = "dino_vits8"
    threshold_sigma: Annotated[float, Field(ge=-3, le=5)] = 0.674
    obfuscation: Literal["mosaic", "zero"] = "mosaic"
    mosaic_px: Annotated[int, Field(ge=2, le=128)] | None = None
    widths: tuple[Annotated[int, Field(ge=4, le=1024)], ...] = (64, 128, 256, 512, 512)
    slope: Annotated[float, Field(ge=0, le=1)] = 0.01
    skip_off: SkipOff | Literal["auto"] = "none"
    msgms_scales: Annotated[int, Field(ge=1, le=5)] = 3
    msgms_c: Annotated[float, Field(gt=0)] = 0.0026
    smooth_sigma: Annotated[float, Field(ge=0, le=32)] = 0.0
    top_k: Annotated[int, Field(ge=1, le=3840)] = 1
    synthesis: SynthesisConfig = SynthesisConfig(anomaly_share=0.0)

    def rate(self, done: float) -> float:
        if done < self.warmup:
            return max(done, 1e-3) / self.warmup
        along = (done - self.warmup) / (1 - self.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, along)))
        return (self.lr_end + (1 - self.lr_end) * cosine) * super().rate(done)


class EARTrainer:
    """One phase: the U-Net alone. What is salient in a tile is worked out once and kept."""

    def __init__(
        self, settings: EARSettings, size_hw: tuple[int, int], teacher: Path | None
    ) -> None:
        self.settings = settings
        self.module = EAR(_config(settings, size_hw), size_hw)
        _load_attention(self.module, settings.attention, teacher)
        self.phases = (Phase("restore", settings.steps, 1.0),)
        self._salient = FrozenFeatures(self._marks)

    def begin(self, phase: str) -> Optimizer:
        self.module.train()
        return Adam(self.module.unet.parameters(), self.settings.lr)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        """Restoration against the whole good image; every skip connection is on.

        In the paper's training nothing is damaged; where settings have it, damage is to be undone.
        """
        net, s = self.module, self.settings
        restored = net.restore(net.excise(batch.anomalous, self.salient(batch)))
        with torch.autocast(batch.normal.device.type, enabled=False):
            restored, clean = restored.float(), batch.normal
            errors = {
                "l2": s.l2 * (restored - clean).square(),
                "ssim": s.ssim * (1 - ssim_map(restored, clean)),
                "msgms": s.msgms * net.error(clean, restored),
            }
            return restoration_losses(errors, batch.mask, s.anomaly_weight)

    @torch.no_grad()
    def salient(self, batch: Batch) -> Tensor | None:
        """As the network's own, from memory where tiles lie as they were stored."""
        if self.module.attention is None:
            return None
        damage = self.settings.synthesis
        if damage.rotation != "none" or damage.anomaly_share > 0:
            return self.module.salient(batch.anomalous)
        return self._salient(batch.normal, batch.tile)[0].float()

    def _marks(self, rgb: Tensor) -> list[Tensor]:
        salient = self.module.salient(rgb)
        assert salient is not None
        return [salient.bool()]

    @torch.inference_mode()
    def choose(self, held_back: Batch) -> BranchChoice:
        """Which skip connection to leave out when judging: as set, or measured."""
        net, wanted = self.module.eval(), self.settings.skip_off
        ways = SKIPS[: len(net.config.widths)]
        measured = {}
        for way in ways if wanted == "auto" else [wanted]:
            net.config = net.config.model_copy(update={"skip_off": way})
            measured[way] = measure(held_back, lambda rgb: {"map": net(rgb)})["map"]
        best = max(measured, key=lambda way: measured[way]["selection_score"])
        net.config = net.config.model_copy(update={"skip_off": best})
        return BranchChoice(net.config, {"skip_off": best, "measured": measured})


def _config(settings: EARSettings, size_hw: tuple[int, int]) -> EARConfig:
    fields = {name: getattr(settings, name) for name in EARConfig.model_fields}
    fields["mosaic_px"] = settings.mosaic_px or default_mosaic(size_hw)
    if settings.skip_off == "auto":
        fields["skip_off"] = "none"
    return shaped(EARConfig, fields)


def default_mosaic(size_hw: tuple[int, int]) -> int:
    """16 pixels at 256x256, scaled with the shorter side, a power of two."""
    return int(2 ** max(1, round(math.log2(16 * min(size_hw) / 256))))


def _load_attention(net: EAR, name: Attention, path: Path | None) -> None:
    if net.attention is None:
        return
    kind = "mnist" if name == "mnist" else "dino"
    what = "edge-ad's digit attention" if name == "mnist" else f"{name} with DINO's names"
    if path is None:
        raise UsageError(
            f"EAR with attention {name} needs its weights: --teacher FILE, {what}. {_GET[kind]} "
            "Without: --set attention=none hides the whole image behind the mosaic."
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
            **RESTORER,
            "steps": 6000,
            "attention": "none",
            # a coarse mosaic hides a surface's grain as well as its defects
            "mosaic_px": 2,
            "widths": (16, 32, 64, 128, 128),
        }
    },
)
