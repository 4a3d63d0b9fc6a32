"""Gaussian's training: mean and covariance of the normal tiles' features, in one pass."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from edge_ad.methods.gaussian.network import Gaussian, GaussianConfig
from edge_ad.methods.layers.backbone import load_backbone
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.layers.gaussian_distance import Moments
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.settings import OnePassSettings
from edge_ad.methods.learning.trainer import BranchChoice, MethodTraining, Phase


class GaussianSettings(OnePassSettings):
    """Settings of the pass that adds up the moments."""

    network: GaussianConfig = GaussianConfig()


class GaussianTrainer:
    """Adds up moments in one phase without gradients; `choose` makes the Gaussian of them."""

    def __init__(self, settings: GaussianSettings, size_hw: SizeHW, teacher: Path | None) -> None:
        self.settings = settings
        self.module = Gaussian(settings.network, size_hw)
        features = self.module.features
        load_backbone(features.backbone, features.name, teacher, "Gaussian")
        self._moments = Moments(self.module.features.dimensions)
        self.module.moments = self._moments
        self.expect(settings.batch)

    def expect(self, tiles: int) -> None:
        """Plan one pass over this many tiles."""
        steps = self.settings.steps or math.ceil(tiles / self.settings.batch)
        self.phases = (Phase("collect", steps, 1.0, once=True),)

    def begin(self, phase: str) -> Optimizer:
        """Return an optimiser with nothing to do: there are no gradients."""
        return SGD(self.module.gaussian.parameters(), lr=0.0)

    @torch.no_grad()
    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        """Add the normal tiles' features; return their mean squared spread."""
        return {"spread": self._moments.add(self.module.features(batch.normal))}

    @torch.inference_mode()
    def choose(self, held_back: Batch) -> BranchChoice:
        """Set the Gaussian, and measure the detector on held-back tiles."""
        net = self.module.eval()
        self._moments.fill(net.gaussian)
        del net.moments
        measured = measure(held_back, lambda rgb: {"map": net(rgb)})
        return BranchChoice(net.config, {"measured": measured})


TRAINING = MethodTraining("gaussian", GaussianSettings, GaussianTrainer, presets={"edge": {}})
