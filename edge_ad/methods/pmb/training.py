"""PMB's training (reconstructed): the network restores good parts, the memories learn with it.

The paper (IEEE TCSVT 33(8), 2023) was known by its abstract; loss, schedule and the histogram's
rule follow common practice and the same author's later work, and are settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from edge_ad.methods.destseg.network import default_top_k
from edge_ad.methods.layers.ssim import ssim_map
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import AT_ONCE, measure
from edge_ad.methods.learning.losses import restoration_losses
from edge_ad.methods.learning.presets import RESTORER
from edge_ad.methods.learning.trainer import (
    BranchChoice,
    MethodTraining,
    Phase,
    Tiles,
    TrainingSettings,
    decayed,
    shaped,
)
from edge_ad.methods.pmb.network import PMB, PMBConfig, PMBError
from edge_ad.methods.pmb.partition_memory import Query, Shrink
from edge_ad.synthesis.anomalies import SynthesisConfig

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Width = Annotated[int, Field(ge=4, le=1024)]
Parts = Annotated[int, Field(ge=1, le=64)]


FORMS = ("exact", "frozen", "off")


class PMBSettings(TrainingSettings):
    """Adam; `lr` falls to `decay` of itself at each share of the steps in `decay_at`.

    `widths`, `lateral`, `items`, `temperature`, `hee` and the like shape the network, see
    `PMBConfig`; `hee` auto measures which form serves best. `top_k` and `smooth_sigma` None
    scale 100 and 4 at 256x256 with the image. `anomaly_weight` counts l2 and
    ssim once more on synthetic anomalies.
    """

    batch: Tiles = 16
    steps: Annotated[int, Field(ge=2)] = 4500
    lr: Annotated[float, Field(gt=0)] = 1e-4
    decay: Share = 0.2
    decay_at: tuple[Share, ...] = (0.8, 0.9)
    l2: Weight = 1.0
    ssim: Weight = 1.0
    anomaly_weight: Weight = 0.0
    entropy: Weight = 2e-4
    widths: tuple[Width, Width, Width, Width] = (64, 128, 256, 512)
    bottleneck: Width = 512
    lateral: tuple[Literal["pmb", "skip"], ...] = ("pmb", "skip", "pmb", "skip")
    partitions: tuple[Parts, ...] = (8, 8, 8, 8)
    items: Annotated[int, Field(ge=2, le=4096)] = 64
    query: Query = "channel"
    shrink: Shrink = "hard"
    temperature: Annotated[float, Field(gt=0, le=100)] = 1.0
    mosaic_px: Annotated[int, Field(ge=1, le=128)] = 1
    error: PMBError = "absolute"
    msgms_scales: Annotated[int, Field(ge=1, le=5)] = 3
    msgms_c: Annotated[float, Field(gt=0)] = 0.0026
    hee: Literal["exact", "frozen", "off", "auto"] = "exact"
    bins: Annotated[int, Field(ge=4, le=1024)] = 64
    eta: Annotated[float, Field(gt=0, lt=1)] = 0.05
    smooth_sigma: Annotated[float, Field(ge=0, le=32)] | None = None
    score: Literal["top", "accumulated"] = "top"
    top_k: Annotated[int, Field(ge=1, le=3840)] | None = None
    synthesis: SynthesisConfig = SynthesisConfig(anomaly_share=0.0)

    def rate(self, done: float) -> float:
        return decayed(done, self.decay, self.decay_at) * super().rate(done)


class PMBTrainer:
    """One phase: network and memories together, by the restoration alone."""

    def __init__(
        self, settings: PMBSettings, size_hw: tuple[int, int], teacher: Path | None
    ) -> None:
        self.settings = settings
        self.module = PMB(_config(settings, size_hw), size_hw)
        self.phases = (Phase("restore", settings.steps, 1.0),)

    def begin(self, phase: str) -> Optimizer:
        self.module.train()
        return Adam(self.module.parameters(), self.settings.lr)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        """Restoration of the good image from the damaged one, where settings damage any."""
        s = self.settings
        restored, entropy = self.module.restore(batch.anomalous)
        with torch.autocast(batch.normal.device.type, enabled=False):
            restored, clean = restored.float(), batch.normal
            errors = {
                "l2": s.l2 * (restored - clean).square(),
                "ssim": s.ssim * (1 - ssim_map(restored, clean)),
            }
            losses = restoration_losses(errors, batch.mask, s.anomaly_weight)
            return losses | {"entropy": s.entropy * entropy.float()}

    @torch.inference_mode()
    def choose(self, held_back: Batch) -> BranchChoice:
        """Measure the frozen cut on good images; tell how each form of the estimation does.

        The form is the one that was set, or the best on held-back images.
        """
        net = self.module.eval()
        net.cut.fill_(_median_cut(net, held_back.normal))
        wanted, measured = self.settings.hee, {}
        for way in FORMS:
            net.config = net.config.model_copy(update={"hee": way})
            measured[way] = measure(held_back, lambda rgb: {"map": net(rgb)})["map"]
        best = max(measured, key=lambda way: measured[way]["selection_score"])
        net.config = net.config.model_copy(update={"hee": best if wanted == "auto" else wanted})
        report = {"hee": net.config.hee, "cut": float(net.cut), "measured": measured}
        return BranchChoice(net.config, report)


def _median_cut(net: PMB, clean: Tensor) -> float:
    """The histogram's cut of the middle one of the good images."""
    cuts = []
    for start in range(0, len(clean), AT_ONCE):
        rgb = clean[start : start + AT_ONCE]
        cuts.append(net.histogram(net.difference(rgb, net.restore(rgb)[0])).flatten())
    return float(torch.cat(cuts).median())


def _config(settings: PMBSettings, size_hw: tuple[int, int]) -> PMBConfig:
    fields = {name: getattr(settings, name) for name in PMBConfig.model_fields}
    if settings.smooth_sigma is None:
        fields["smooth_sigma"] = 4 * min(size_hw) / 256
    if settings.hee == "auto":
        fields["hee"] = FORMS[0]
    fields["top_k"] = settings.top_k or default_top_k(size_hw)
    return shaped(PMBConfig, fields)


TRAINING = MethodTraining(
    "pmb",
    PMBSettings,
    PMBTrainer,
    presets={
        "edge": {
            **RESTORER,
            "widths": (16, 32, 64, 128),
            "bottleneck": 128,
            "lateral": ("pmb", "pmb", "pmb", "pmb"),
            "partitions": (8, 8, 4, 4),
            "temperature": 0.1,
            "error": "msgms",
            "hee": "auto",
        }
    },
)
