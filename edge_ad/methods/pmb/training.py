"""PMB's training (reconstructed): the network restores normal parts; memories train with it.

The paper (IEEE TCSVT 33(8), 2023) was known by its abstract; loss, schedule and the histogram's
rule follow common practice and the same author's later work, and are settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.layers.ssim import ssim_map
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import BATCH_SIZE, best, measure
from edge_ad.methods.learning.losses import restoration_losses
from edge_ad.methods.learning.presets import RESTORATION
from edge_ad.methods.learning.settings import (
    LearningRate,
    LossWeight,
    Steps,
    Tiles,
    TrainingSettings,
    decayed,
)
from edge_ad.methods.learning.trainer import BranchChoice, MethodTraining, Phase
from edge_ad.methods.pmb.network import PMB, PMBConfig
from edge_ad.synthesis.anomalies import SynthesisConfig

Share = Annotated[float, Field(gt=0, le=1)]
HEE_FORMS = ("exact", "frozen", "off")


class PMBSettings(TrainingSettings):
    """Adam; `lr` falls to `decay` of itself at each share of the steps in `decay_at`.

    `network.hee` auto measures which form of the error estimation is best. `anomaly_weight` weighs
    l2 and ssim once more at synthetic anomalies.
    """

    batch: Tiles = 16
    steps: Steps = 4500
    lr: LearningRate = 1e-4
    decay: Share = 0.2
    decay_at: tuple[Share, ...] = (0.8, 0.9)
    l2: LossWeight = 1.0
    ssim: LossWeight = 1.0
    anomaly_weight: LossWeight = 0.0
    entropy: LossWeight = 2e-4
    network: PMBConfig = PMBConfig(smooth_sigma=None, top_k=None)
    synthesis: SynthesisConfig = SynthesisConfig(anomaly_share=0.0)

    def rate(self, done: float) -> float:
        return decayed(done, self.decay, self.decay_at) * super().rate(done)


class PMBTrainer:
    """One phase: network and memories together, by the restoration alone."""

    def __init__(self, settings: PMBSettings, size_hw: SizeHW, teacher: Path | None) -> None:
        self.settings = settings
        self.module = PMB(settings.network, size_hw)
        self.phases = (Phase("restore", settings.steps, 1.0),)

    def begin(self, phase: str) -> Optimizer:
        self.module.train()
        return Adam(self.module.parameters(), self.settings.lr)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        """Compare the restoration of the anomalous image with the normal one."""
        s = self.settings
        restored, entropy = self.module.restore(batch.anomalous)
        with torch.autocast(batch.normal.device.type, enabled=False):
            restored, normal = restored.float(), batch.normal
            errors = {
                "l2": s.l2 * (restored - normal).square(),
                "ssim": s.ssim * (1 - ssim_map(restored, normal)),
            }
            losses = restoration_losses(errors, batch.mask, s.anomaly_weight)
            return losses | {"entropy": s.entropy * entropy.float()}

    @torch.inference_mode()
    def choose(self, held_back: Batch) -> BranchChoice:
        """Measure the frozen cut on normal tiles, then choose the form of the error estimation.

        The form is the one that is set, or the best on held-back tiles; all are in the report.
        """
        net, requested = self.module.eval(), self.settings.network.hee
        net.cut.fill_(_median_cut(net, held_back.normal))
        measured = {}
        for form in HEE_FORMS:
            net.config = net.config.model_copy(update={"hee": form})
            measured[form] = measure(held_back, lambda rgb: {"map": net(rgb)})["map"]
        chosen = best(measured) if requested == "auto" else requested
        net.config = net.config.model_copy(update={"hee": chosen})
        report = {"hee": chosen, "cut": float(net.cut), "measured": measured}
        return BranchChoice(net.config, report)


def _median_cut(net: PMB, normal: Tensor) -> float:
    """Return the median over normal tiles of the histogram's cut."""
    cuts = [
        net.histogram(net.difference(rgb, net.restore(rgb)[0])).flatten()
        for rgb in torch.split(normal, BATCH_SIZE)
    ]
    return float(torch.cat(cuts).median())


TRAINING = MethodTraining(
    "pmb",
    PMBSettings,
    PMBTrainer,
    presets={
        "edge": {
            **RESTORATION,
            "network.widths": (16, 32, 64, 128),
            "network.bottleneck": 128,
            "network.lateral": ("pmb", "pmb", "pmb", "pmb"),
            "network.partitions": (8, 8, 4, 4),
            "network.temperature": 0.1,
            "network.error": "msgms",
            "network.hee": "auto",
        }
    },
)
