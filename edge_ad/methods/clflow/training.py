"""CL-Flow's training (reconstructed): likelihood of normal parts, contrast with damaged ones.

The paper (Wang et al., ISPP 2024) was known by its abstract and one note that names the terms:
flow likelihood, a classification proxy with label smoothing, and cosine terms that pull normal
latents together and push damaged boxes from the same boxes undamaged. Their exact form, weights
and schedule are ours, and settings.
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

from edge_ad.errors import UsageError
from edge_ad.methods.clflow.anomaly_boxes import boxes_of, inside
from edge_ad.methods.clflow.contrastive_losses import (
    box_mean,
    pull_loss,
    push_loss,
    separation_loss,
    standardise,
)
from edge_ad.methods.clflow.flow import Flow, Kernels
from edge_ad.methods.clflow.network import Backbone, CLFlow, CLFlowConfig
from edge_ad.methods.layers.resnet import WHERE, ResNet18, load_resnet18
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.frozen_features import FrozenFeatures
from edge_ad.methods.learning.presets import VARIED
from edge_ad.methods.learning.trainer import (
    BranchChoice,
    MethodTraining,
    Phase,
    Tiles,
    TrainingSettings,
    shaped,
)
from edge_ad.methods.pretrained import fill_trunk, read_state
from edge_ad.synthesis.anomalies import SynthesisConfig

Weight = Annotated[float, Field(ge=0)]
LIKELIHOOD, CONTRAST = "likelihood", "contrast"


class CLFlowSettings(TrainingSettings):
    """`batch` counts pairs of a good tile and its damaged copy; FastFlow's rates and epochs.

    Half of the damage is a texture, half a piece of the tile pasted elsewhere; where parts lie on
    a plain ground, `synthesis.foreground` keeps it on them.
    `separate` weighs an addition of self-supervised flows: a position's energy, half the mean of
    its z^2, stays below `near` on good tiles and rises above `far` where a tile is damaged.
    `standardise` sets the layer norms to the spread of each channel of the first batch and keeps
    them: trained, as FastFlow's community code has them, they lower the loss by shrinking features,
    since the likelihood does not count them, and a short training does little else.
    `warmup` is the share of the steps that learns the likelihood alone. `pull`, `push` and
    `classify` weigh the contrastive terms against the likelihood's 1; `push_margin` is the cosine
    below which a damaged box is far enough.
    """

    batch: Tiles = 16
    steps: Annotated[int, Field(ge=2)] = 7500
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.04
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Weight = 1e-5
    pull: Weight = 1.0
    push: Weight = 1.0
    push_margin: Annotated[float, Field(ge=-1, le=1)] = 0.0
    classify: Weight = 1.0
    separate: Weight = 0.0
    near: Weight = 0.6
    far: Weight = 1.5
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    box_min_px: Annotated[int, Field(ge=1)] = 16
    box_max_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    backbone: Backbone = "wide_resnet50_2"
    flow_steps: Annotated[int, Field(ge=1, le=64)] = 8
    kernels: Kernels = "alternate"
    hidden_ratio: Annotated[float, Field(gt=0, le=4)] = 1.0
    clamp: Annotated[float, Field(gt=0, le=5)] = 2.0
    standardise: bool = False
    pre_scale: Annotated[float, Field(gt=0, le=1)] = 0.1
    synthesis: SynthesisConfig = SynthesisConfig(
        cut_paste_share=0.5, texture_weight=(0.3, 1.0), redraw_empty=True
    )


class CLFlowTrainer:
    """Phase `likelihood` fits the flows to good tiles; `contrast` adds the damaged ones."""

    def __init__(
        self, settings: CLFlowSettings, size_hw: tuple[int, int], teacher: Path | None
    ) -> None:
        self.settings = settings
        self.module = CLFlow(_config(settings), size_hw)
        _load_backbone(self.module, teacher)
        warmup = max(1, round(settings.steps * settings.warmup))
        self.phases = (
            Phase(LIKELIHOOD, warmup, settings.warmup),
            Phase(CONTRAST, settings.steps - warmup, 1 - settings.warmup),
        )
        if settings.standardise:
            for flow in self._flows():
                flow.norm.requires_grad_(requires_grad=False)
        trained = [p for p in self.module.parameters() if p.requires_grad]
        self._kept = FrozenFeatures(self.module.features)
        self._optimizer = Adam(trained, settings.lr, weight_decay=settings.weight_decay)

    def begin(self, phase: str) -> Optimizer:
        """One optimiser for both phases: its moments are worth keeping.

        Halves of channels are contiguous only where the channels come first: a third faster.
        """
        self.module.train()
        self.module.flows.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return self._optimizer

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            good = self._good(batch)
            if self.settings.standardise and phase == LIKELIHOOD:
                for flow, level in zip(self._flows(), good, strict=True):
                    standardise(flow.norm, level.float())
            hurt = self.module.features(batch.anomalous) if phase == CONTRAST else ()
        with torch.autocast(batch.normal.device.type, enabled=False):
            latents, likelihood = self._likelihood(good)
            if phase == LIKELIHOOD:
                return {"likelihood": likelihood}
            others = [
                flow(x.float().contiguous())[0]
                for flow, x in zip(self.module.flows, hurt, strict=True)
            ]
            return {"likelihood": likelihood, **self._contrast(latents, others, batch.mask)}

    def _flows(self) -> list[Flow]:
        return [flow for flow in self.module.flows if isinstance(flow, Flow)]

    def _good(self, batch: Batch) -> Sequence[Tensor]:
        """The good tiles' features, from memory where tiles lie as they were stored."""
        if self.settings.synthesis.rotation == "none":
            return self._kept(batch.normal, batch.tile)
        return self.module.features(batch.normal)

    def _likelihood(self, features: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Latents, and -log p of the features per element, mean over levels and images."""
        latents, losses = [], []
        for flow, level in zip(self.module.flows, features, strict=True):
            z, change = flow(level.float().contiguous())
            energy = 0.5 * z.square().sum(dim=(1, 2, 3))
            latents.append(z)
            losses.append((energy - change).mean() / z[0].numel())
        return latents, torch.stack(losses).mean()

    def _contrast(self, good: list[Tensor], hurt: list[Tensor], mask: Tensor) -> dict[str, Tensor]:
        s = self.settings
        boxes, real = boxes_of(mask, s.box_min_px, s.box_max_share)
        pulls = torch.stack([pull_loss(z) for z in good]).mean()
        parts = {"pull": s.pull * pulls}
        if s.separate:
            pairs = zip(good, hurt, strict=True)
            apart = [separation_loss(a, b, mask, near=s.near, far=s.far) for a, b in pairs]
            parts["separate"] = s.separate * torch.stack(apart).mean()
        if not real.any():  # every mask of this batch drew empty
            return parts
        where = [inside(boxes[real], z.shape[2], z.shape[3], self.module.size_hw) for z in good]
        pushes = [
            push_loss(box_mean(a[real], w), box_mean(b[real], w), s.push_margin)
            for a, b, w in zip(good, hurt, where, strict=True)
        ]
        normal = torch.cat([z.square().mean(dim=(2, 3)) for z in good], dim=1)
        damaged = [box_mean(z[real].square(), w) for z, w in zip(hurt, where, strict=True)]
        parts["push"] = s.push * torch.stack(pushes).mean()
        parts["classify"] = s.classify * self._classified(normal, torch.cat(damaged, dim=1))
        return parts

    def _classified(self, normal: Tensor, damaged: Tensor) -> Tensor:
        """Cross-entropy of telling normal images' mean z^2 from damaged boxes'.

        The head sees their logarithm: damaged ones may be a hundred times larger, and losses of 160
        then left second moments in Adam that slowed all that followed for thousands of steps.
        """
        labels = torch.cat([normal.new_zeros(len(normal)), normal.new_ones(len(damaged))]).long()
        logits = self.module.head(torch.log1p(torch.cat([normal, damaged])))
        return F.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)

    @torch.inference_mode()
    def choose(self, held_back: Batch) -> BranchChoice:
        """There is one map; how it does on held-back images is told."""
        net = self.module.eval()
        return BranchChoice(
            net.config, {"measured": measure(held_back, lambda rgb: {"map": net(rgb)})}
        )


def _config(settings: CLFlowSettings) -> CLFlowConfig:
    return shaped(CLFlowConfig, {n: getattr(settings, n) for n in CLFlowConfig.model_fields})


def _load_backbone(net: CLFlow, path: Path | None) -> None:
    name = net.config.backbone
    if path is None:
        lighter = "" if name == "resnet18" else "A light one: --set backbone=resnet18. "
        raise UsageError(
            f"CL-Flow (reconstructed) needs the weights of its backbone {name}: --teacher FILE, "
            f"torchvision's state dict. {lighter}{WHERE}"
        )
    if isinstance(net.backbone, ResNet18):
        load_resnet18(net.backbone, path)
    else:
        what = "torchvision's Wide ResNet-50-2 up to layer3"
        fill_trunk(net.backbone, read_state(path, what), path, what)


TRAINING = MethodTraining(
    "clflow",
    CLFlowSettings,
    CLFlowTrainer,
    presets={
        "edge": {
            "backbone": "resnet18",
            "flow_steps": 4,
            "standardise": True,
            "separate": 2.0,
            **VARIED,
            "batch": 8,
            "steps": 4000,
            "lr": 2e-3,
            "lr_tail": 0.3,
        }
    },
)
