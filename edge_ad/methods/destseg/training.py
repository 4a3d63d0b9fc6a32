"""DeSTSeg's training (paper, sections 3.2 to 4.1, and the released code): student, then head."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from edge_ad.methods.destseg.map_choice import choose_map
from edge_ad.methods.destseg.network import PRIOR, DeSTSeg, DeSTSegConfig
from edge_ad.methods.destseg.prior_fitting import PriorFitting
from edge_ad.methods.layers.backbone import load_backbone
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.frozen_features import FrozenFeatures
from edge_ad.methods.learning.losses import cosine_loss, focal_loss, l1_loss
from edge_ad.methods.learning.presets import ALL_AS_PUBLISHED
from edge_ad.methods.learning.settings import LearningRate, LossWeight, Steps, TrainingSettings
from edge_ad.methods.learning.trainer import BranchChoice, MethodTraining, Phase

STUDENT, SEGMENTATION, FITTING = "student", "segmentation", "prior"


class DeSTSegSettings(TrainingSettings):
    """The published schedule. `student_share` splits steps; `student_time` splits a time budget.

    `network.branch` auto measures which branch separates best, and from how many pixels;
    `network.prior` auto, whether with one of the priors.
    """

    steps: Steps = 5000
    student_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    student_time: Annotated[float, Field(gt=0, lt=1)] = 0.2
    lr_student: LearningRate = 0.4
    lr_res: LearningRate = 0.1
    lr_head: LearningRate = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    focal: LossWeight = 1.0
    gamma: Annotated[float, Field(ge=0)] = 4.0
    l1: LossWeight = 1.0
    network: DeSTSegConfig = DeSTSegConfig(branch="auto", top_k=None)


class DeSTSegTrainer:
    """Phase `student` fits the student alone, phase `segmentation` the segmentation net alone.

    With a prior, phase `prior` collects the teacher's features of every normal tile.
    """

    def __init__(self, settings: DeSTSegSettings, size_hw: SizeHW, teacher: Path | None) -> None:
        self.settings = settings
        network = settings.network.model_copy(update={"prior": "none"})  # until it is fitted
        self.module = DeSTSeg(network, size_hw)
        load_backbone(self.module.teacher, network.backbone, teacher, "DeSTSeg")
        self._frozen = FrozenFeatures(self._teacher_levels)
        self._fitting: PriorFitting | None = None
        student = max(1, round(settings.steps * settings.student_share))
        self.phases: tuple[Phase, ...] = (
            Phase(STUDENT, student, settings.student_time),
            Phase(SEGMENTATION, settings.steps - student, 1 - settings.student_time),
        )
        self.expect(settings.batch)

    def expect(self, tiles: int) -> None:
        """Plan one pass over this many tiles for the priors."""
        s = self.settings
        if s.network.prior != "none":
            steps = math.ceil(tiles / s.batch)
            self.phases = (*self.phases[:2], Phase(FITTING, steps, 0.0, once=True))
            self._fitting = PriorFitting(s.network, self.module.size_hw, steps * s.batch)
            self.module.fitting = self._fitting

    def begin(self, phase: str) -> Optimizer:
        net, s = self.module.eval(), self.settings
        net.requires_grad_(requires_grad=False)
        if phase == FITTING:
            return SGD(net.teacher.parameters(), lr=0.0)  # nothing to do: there are no gradients
        trained: nn.Module = net.student if phase == STUDENT else net.segmentation
        trained.train().requires_grad_()
        res = list(net.segmentation.res.parameters())
        in_res = {id(parameter) for parameter in res}
        head = [p for p in net.segmentation.parameters() if id(p) not in in_res]
        groups = {
            STUDENT: [{"params": list(net.student.parameters()), "lr": s.lr_student}],
            SEGMENTATION: [{"params": res, "lr": s.lr_res}, {"params": head, "lr": s.lr_head}],
        }
        return SGD(groups[phase], momentum=s.momentum, weight_decay=s.weight_decay)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        if phase == FITTING:
            return self._collect(batch)
        return self._student(batch) if phase == STUDENT else self._segmentation(batch)

    @torch.no_grad()
    def _collect(self, batch: Batch) -> dict[str, Tensor]:
        """Add the teacher's features of the normal tiles; return their mean squared spread."""
        assert self._fitting is not None
        return {"spread": self._fitting.add(self._teacher_levels(batch.normal)[PRIOR])}

    def _student(self, batch: Batch) -> dict[str, Tensor]:
        """Compare the student's features of anomalous tiles with the teacher's of normal ones."""
        net = self.module
        teacher = self._target(batch)
        student = net.student(net.normalised(batch.anomalous))
        with torch.autocast(batch.normal.device.type, enabled=False):
            return {"cosine": cosine_loss(*(net.directions(_float(x)) for x in (teacher, student)))}

    def _target(self, batch: Batch) -> list[Tensor]:
        """Return the teacher's levels of the normal tiles, cached where tiles never change."""
        if batch.normal.is_cuda or not self.settings.synthesis.keeps_tiles:
            with torch.no_grad():
                return list(self._teacher_levels(batch.normal))
        return self._frozen(batch.normal, batch.tile)

    def _teacher_levels(self, rgb: Tensor) -> tuple[Tensor, ...]:
        levels: tuple[Tensor, ...] = self.module.teacher(self.module.normalised(rgb))
        return levels

    def _segmentation(self, batch: Batch) -> dict[str, Tensor]:
        """Compare the segmentation net's output for anomalous tiles with their masks."""
        net, s = self.module, self.settings
        with torch.no_grad():
            teacher = self._teacher_levels(batch.anomalous)
            student = net.student(net.normalised(batch.anomalous))
            agreement = net.agreement(*(net.directions(_float(x)) for x in (teacher, student)))
        logits = net.segmentation(agreement)
        with torch.autocast(batch.normal.device.type, enabled=False):
            logits, target = logits.float(), mask_at(batch.mask, net.sizes[0])
            return {
                "focal": s.focal * focal_loss(logits, target, s.gamma),
                "l1": s.l1 * l1_loss(logits, target),
            }

    @torch.inference_mode()
    def choose(self, held_back: Batch) -> BranchChoice:
        """Fit the priors, and choose branch and prior as `choose_map` does."""
        net, priors = self.module.eval(), {}
        if self._fitting is not None:
            priors = self._fitting.fit(net)
            del net.fitting
        return choose_map(net, self.settings.network, priors, held_back)


def mask_at(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale the mask to the segmentation grid: bilinear, then 1 from 0.5 on."""
    small = F.interpolate(mask, size=size, mode="bilinear", align_corners=False)
    return (small >= 0.5).float()


def _float(levels: Iterable[Tensor]) -> list[Tensor]:
    return [level.float() for level in levels]


TRAINING = MethodTraining(
    "destseg",
    DeSTSegSettings,
    DeSTSegTrainer,
    presets={
        "edge": {
            "network.width": 0.25,
            "batch": 16,
            "student_time": 0.5,
            "lr_tail": 0.3,
            "synthesis.structural_share": 0.5,
        },
        "paper": {
            "network.backbone": "resnet18",
            "network.branch": "segmentation",
            **ALL_AS_PUBLISHED,
        },
    },
)
