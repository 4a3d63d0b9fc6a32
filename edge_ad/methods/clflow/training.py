"""CL-Flow's training (reconstructed): likelihood of normal parts, contrast with anomalous ones.

The paper (Wang et al., ISPP 2024) was known by its abstract and one note that names the terms:
flow likelihood, a classification proxy with label smoothing, and cosine terms that pull normal
latents together and push anomalous boxes away from the same boxes in the normal tile. Their exact
form, weights and schedule are ours, and settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from edge_ad.methods.clflow.anomaly_boxes import boxes_of, inside
from edge_ad.methods.clflow.contrastive_losses import (
    box_mean,
    pull_loss,
    push_loss,
    separation_loss,
    standardise,
)
from edge_ad.methods.clflow.flow import Flow
from edge_ad.methods.clflow.network import CLFlow, CLFlowConfig
from edge_ad.methods.layers.backbone import load_backbone
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.frozen_features import FrozenFeatures
from edge_ad.methods.learning.presets import VARIED
from edge_ad.methods.learning.settings import (
    LearningRate,
    LossWeight,
    Steps,
    Tiles,
    TrainingSettings,
)
from edge_ad.methods.learning.trainer import BranchChoice, MethodTraining, Phase
from edge_ad.synthesis.anomalies import SynthesisConfig

LIKELIHOOD, CONTRAST = "likelihood", "contrast"


class CLFlowSettings(TrainingSettings):
    """FastFlow's rates and epochs; `batch` counts pairs of a normal tile and its anomalous copy.

    Half of the anomalies are textures, half a piece of the tile pasted elsewhere; where parts lie
    on a plain ground, `synthesis.foreground` keeps anomalies on them.
    `separate` weighs a term of self-supervised flows: a position's energy, half the mean of its
    z^2, is to stay below `near` on normal tiles and to exceed `far` where a tile is anomalous.
    `standardise` sets the layer norms to the deviation of each channel of the first batch and
    freezes them: trained, as in FastFlow's community code, they lower the loss by shrinking
    features, since the likelihood ignores them, and a short training does little else.
    `warmup` is the share of the steps that minimises the likelihood term alone. `pull`, `push` and
    `classify` weigh the contrastive terms against the likelihood's 1; `push_margin` is the cosine
    below which an anomalous box is far enough.
    """

    batch: Tiles = 16
    steps: Steps = 7500
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.04
    lr: LearningRate = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    pull: LossWeight = 1.0
    push: LossWeight = 1.0
    push_margin: Annotated[float, Field(ge=-1, le=1)] = 0.0
    classify: LossWeight = 1.0
    separate: LossWeight = 0.0
    near: Annotated[float, Field(ge=0)] = 0.6
    far: Annotated[float, Field(ge=0)] = 1.5
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    box_min_px: Annotated[int, Field(ge=1)] = 16
    box_max_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    standardise: bool = False
    network: CLFlowConfig = CLFlowConfig()
    synthesis: SynthesisConfig = SynthesisConfig(
        cut_paste_share=0.5, texture_weight=(0.3, 1.0), redraw_empty=True
    )


class CLFlowTrainer:
    """Phase `likelihood` fits the flows to normal tiles; `contrast` adds anomalous ones."""

    def __init__(self, settings: CLFlowSettings, size_hw: SizeHW, teacher: Path | None) -> None:
        self.settings = settings
        self.module = CLFlow(settings.network, size_hw)
        backbone = settings.network.backbone
        load_backbone(self.module.backbone, backbone, teacher, "CL-Flow (reconstructed)")
        warmup = max(1, round(settings.steps * settings.warmup))
        self.phases = (
            Phase(LIKELIHOOD, warmup, settings.warmup),
            Phase(CONTRAST, settings.steps - warmup, 1 - settings.warmup),
        )
        if settings.standardise:
            for flow in self._flows():
                flow.norm.requires_grad_(requires_grad=False)
        trained = [p for p in self.module.parameters() if p.requires_grad]
        self._frozen = FrozenFeatures(self.module.features)
        self._optimizer = Adam(trained, settings.lr, weight_decay=settings.weight_decay)

    def begin(self, phase: str) -> Optimizer:
        """Return one optimiser for both phases, so that its moments are kept.

        With channels first, the two parts of the channels are contiguous: a third faster.
        """
        self.module.train()
        self.module.flows.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return self._optimizer

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            normal = self._normal_features(batch)
            if self.settings.standardise and phase == LIKELIHOOD:
                for flow, level in zip(self._flows(), normal, strict=True):
                    standardise(flow.norm, level.float())
            anomalous = self.module.features(batch.anomalous) if phase == CONTRAST else ()
        with torch.autocast(batch.normal.device.type, enabled=False):
            latents, likelihood = self._likelihood(normal)
            if phase == LIKELIHOOD:
                return {"likelihood": likelihood}
            pushed = [
                flow(x.float().contiguous())[0]
                for flow, x in zip(self.module.flows, anomalous, strict=True)
            ]
            return {"likelihood": likelihood, **self._contrast(latents, pushed, batch.mask)}

    def _flows(self) -> list[Flow]:
        return [flow for flow in self.module.flows if isinstance(flow, Flow)]

    def _normal_features(self, batch: Batch) -> Sequence[Tensor]:
        """Return the normal tiles' features, cached where tiles never change."""
        if self.settings.synthesis.keeps_tiles:
            return self._frozen(batch.normal, batch.tile)
        return self.module.features(batch.normal)

    def _likelihood(self, features: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return latents and -log p of the features per element, mean over levels and images."""
        latents, losses = [], []
        for flow, level in zip(self.module.flows, features, strict=True):
            z, change = flow(level.float().contiguous())
            energy = 0.5 * z.square().sum(dim=(1, 2, 3))
            latents.append(z)
            losses.append((energy - change).mean() / z[0].numel())
        return latents, torch.stack(losses).mean()

    def _contrast(
        self, normal: list[Tensor], anomalous: list[Tensor], mask: Tensor
    ) -> dict[str, Tensor]:
        """Return the contrastive terms; those of boxes are left out where all masks are empty."""
        s = self.settings
        boxes, present = boxes_of(mask, s.box_min_px, s.box_max_share)
        parts = {"pull": s.pull * torch.stack([pull_loss(z) for z in normal]).mean()}
        if s.separate:
            pairs = zip(normal, anomalous, strict=True)
            terms = [separation_loss(a, b, mask, near=s.near, far=s.far) for a, b in pairs]
            parts["separate"] = s.separate * torch.stack(terms).mean()
        if not present.any():
            return parts
        cells = [
            inside(boxes[present], z.shape[2], z.shape[3], self.module.size_hw) for z in normal
        ]
        pushes = [
            push_loss(box_mean(a[present], w), box_mean(b[present], w), s.push_margin)
            for a, b, w in zip(normal, anomalous, cells, strict=True)
        ]
        images = torch.cat([z.square().mean(dim=(2, 3)) for z in normal], dim=1)
        in_boxes = [box_mean(z[present].square(), w) for z, w in zip(anomalous, cells, strict=True)]
        parts["push"] = s.push * torch.stack(pushes).mean()
        parts["classify"] = s.classify * self.classification_loss(images, torch.cat(in_boxes, 1))
        return parts

    def classification_loss(self, normal: Tensor, anomalous: Tensor) -> Tensor:
        """Return the cross-entropy of classifying mean z^2 of normal images and anomalous boxes.

        The head's input is their logarithm: anomalous ones may be a hundred times larger, and
        losses of 160 then left second moments in Adam that slowed thousands of steps afterwards.
        """
        zeros, ones = normal.new_zeros(len(normal)), normal.new_ones(len(anomalous))
        labels = torch.cat([zeros, ones]).long()
        logits = self.module.head(torch.log1p(torch.cat([normal, anomalous])))
        return F.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)

    @torch.inference_mode()
    def choose(self, held_back: Batch) -> BranchChoice:
        """Measure the only map on held-back images."""
        net = self.module.eval()
        measured = measure(held_back, lambda rgb: {"map": net(rgb)})
        return BranchChoice(net.config, {"measured": measured})


TRAINING = MethodTraining(
    "clflow",
    CLFlowSettings,
    CLFlowTrainer,
    presets={
        "edge": {
            "network.backbone": "resnet18",
            "network.flow_steps": 4,
            "standardise": True,
            "separate": 2.0,
            **VARIED,
            "batch": 8,
            "steps": 4000,
            "lr": 2e-4,
            "lr_tail": 0.3,
        }
    },
)
