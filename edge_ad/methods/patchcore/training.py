"""PatchCore's training: one pass over the normal tiles, then a coreset of their patches."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import SGD, Optimizer

from edge_ad.methods.layers.backbone import load_backbone
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.coreset import Candidates
from edge_ad.methods.learning.presets import ALL_AS_PUBLISHED
from edge_ad.methods.learning.settings import OnePassSettings
from edge_ad.methods.learning.trainer import BranchChoice, MethodTraining, Phase
from edge_ad.methods.patchcore.network import PatchCore, PatchCoreConfig


class PatchCoreSettings(OnePassSettings):
    """Settings of the pass that collects patches, and of what is remembered.

    `ratio` is the share of all patches to remember, as in the paper; None takes `network.rows`.
    """

    ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    network: PatchCoreConfig = PatchCoreConfig()


class PatchCoreTrainer:
    """Collects patches in one phase without gradients; `choose` picks those to remember."""

    def __init__(self, settings: PatchCoreSettings, size_hw: SizeHW, teacher: Path | None) -> None:
        self.settings = settings
        self.module = PatchCore(settings.network, size_hw)
        features = self.module.features
        load_backbone(features.backbone, features.name, teacher, "PatchCore")
        self.expect(settings.batch)

    def expect(self, tiles: int) -> None:
        """Plan one pass over this many tiles, and make room for their patches."""
        net, s = self.module, self.settings
        steps = s.steps or math.ceil(tiles / s.batch)
        self.phases = (Phase("collect", steps, 1.0, once=True),)
        height, width = net.features.grid(net.size_hw)
        drawn = steps * s.batch
        self._candidates = Candidates(drawn, height * width, net.features.dimensions)
        net.candidates = self._candidates
        rows = s.network.for_size(net.size_hw).rows or 1
        count = len(self._candidates.patches)
        least = 2 if s.network.score == "weighted" else 1  # which one row would leave at 0
        share = int(s.ratio * drawn * height * width) if s.ratio else rows
        net.resize(min(count, max(least, share)))

    def begin(self, phase: str) -> Optimizer:
        """Return an optimiser with nothing to do: there are no gradients."""
        return SGD(self.module.memory.parameters(), lr=0.0)

    @torch.no_grad()
    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        """Collect the patches of the normal tiles; return their mean squared spread."""
        return {"spread": self._candidates.add(self.module.features(batch.normal))}

    @torch.inference_mode()
    def choose(self, held_back: Batch) -> BranchChoice:
        """Choose the patches to remember, and measure the detector on held-back tiles."""
        net = self.module.eval()
        net.remember(self._candidates.coreset(net.config.rows or 1))
        memory = {"patches": int(self._candidates.filled), "rows": net.config.rows}
        del net.candidates
        measured = measure(held_back, lambda rgb: {"map": net(rgb)})
        return BranchChoice(net.config, {"measured": measured, "memory": memory})


TRAINING = MethodTraining(
    "patchcore",
    PatchCoreSettings,
    PatchCoreTrainer,
    presets={
        "edge": {
            "network.smooth_sigma": None,
            "network.score": "map",
        },
        # for defects of a few pixels, with a larger input: cells of 4 pixels, not of 8
        "fine": {"network.levels": (1, 2), "network.score": "map"},
        "paper": {
            "network.backbone": "wide_resnet50_2",
            "network.pooled": (1024, 1024),
            "ratio": 0.1,
            **ALL_AS_PUBLISHED,
        },
    },
)
