"""Train Repair: turn synthetic anomalies back into the normal tile."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.settings import LearningRate, Steps, Tiles, TrainingSettings
from edge_ad.methods.learning.trainer import BranchChoice, MethodTraining, Phase
from tests.extending.repair.network import Repair, RepairConfig


class RepairSettings(TrainingSettings):
    """Settings of training; `--set network.channels=16` reaches the network's."""

    batch: Tiles = 16
    steps: Steps = 2000
    lr: LearningRate = 1e-3
    network: RepairConfig = RepairConfig()


class RepairTrainer:
    """One phase, from scratch."""

    def __init__(self, settings: RepairSettings, size_hw: SizeHW, teacher: Path | None) -> None:
        self.settings = settings
        self.module = Repair(settings.network, size_hw)
        self.phases = (Phase("repair", settings.steps, 1.0),)

    def begin(self, phase: str) -> Optimizer:
        self.module.train()
        return Adam(self.module.parameters(), self.settings.lr)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        repair = self.module.autoencoder(batch.anomalous)
        return {"l1": (repair - batch.normal).abs().mean()}

    @torch.inference_mode()
    def choose(self, held_back: Batch) -> BranchChoice:
        """Measure the only map on held-back tiles."""
        net = self.module.eval()
        return BranchChoice(net.config, {"measured": measure(held_back, lambda x: {"map": net(x)})})


TRAINING = MethodTraining("repair", RepairSettings, RepairTrainer, {"edge": {"steps": 1000}})
