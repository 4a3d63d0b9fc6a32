"""DeSTSeg's training (paper, sections 3.2 to 4.1, and the released code): student, then head."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from edge_ad.errors import UsageError
from edge_ad.methods.destseg.network import (
    MOST_PIXELS,
    PRIOR,
    PRIOR_CHANNELS,
    Branch,
    DeSTSeg,
    DeSTSegConfig,
)
from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.layers.gaussian_distance import Moments
from edge_ad.methods.layers.gaussian_prior import ScoreSpread
from edge_ad.methods.layers.resnet import WHERE, load_resnet18
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import BATCH_SIZE, best, measure
from edge_ad.methods.learning.frozen_features import FrozenFeatures
from edge_ad.methods.learning.losses import cosine_loss, focal_loss, l1_loss
from edge_ad.methods.learning.presets import ALL_AS_PUBLISHED
from edge_ad.methods.learning.settings import LearningRate, LossWeight, Steps, TrainingSettings
from edge_ad.methods.learning.trainer import BranchChoice, MethodTraining, Phase

WHY = "highest selection score on held-out normal tiles and synthetic anomalies of all kinds"
NAMED = "named by the user"
TOP_K_GAIN = 0.005  # of the selection score; a smaller one is chance
STUDENT, SEGMENTATION, GAUSSIAN = "student", "segmentation", "gaussian"


class DeSTSegSettings(TrainingSettings):
    """The published schedule. `student_share` splits steps; `student_time` splits a time budget.

    `network.branch` auto measures which branch separates best, and from how many pixels.
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

    With the prior, phase `gaussian` adds up the teacher's features of every normal tile.
    """

    def __init__(self, settings: DeSTSegSettings, size_hw: SizeHW, teacher: Path | None) -> None:
        if teacher is None:
            raise UsageError(f"DeSTSeg needs a teacher's weights: --teacher FILE. {WHERE}")
        self.settings = settings
        self.module = DeSTSeg(settings.network, size_hw)
        load_resnet18(self.module.teacher, teacher)
        self._frozen = FrozenFeatures(self._teacher_levels)
        self._moments: Moments | None = None
        if self.module.prior is not None:
            self._moments = Moments(PRIOR_CHANNELS)
            self.module.moments = self._moments
        student = max(1, round(settings.steps * settings.student_share))
        self.phases: tuple[Phase, ...] = (
            Phase(STUDENT, student, settings.student_time),
            Phase(SEGMENTATION, settings.steps - student, 1 - settings.student_time),
        )
        self.expect(settings.batch)

    def expect(self, tiles: int) -> None:
        """Plan one pass over so many tiles for the prior."""
        if self._moments is not None:
            steps = math.ceil(tiles / self.settings.batch)
            self.phases = (*self.phases[:2], Phase(GAUSSIAN, steps, 0.0, once=True))

    def begin(self, phase: str) -> Optimizer:
        net, s = self.module.eval(), self.settings
        if phase == GAUSSIAN and net.prior is not None:
            net.requires_grad_(requires_grad=False)
            return SGD(net.prior.parameters(), lr=0.0)  # nothing to do: there are no gradients
        trained: nn.Module = net.student if phase == STUDENT else net.segmentation
        net.requires_grad_(requires_grad=False)
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
        if phase == GAUSSIAN:
            return self._gaussian(batch)
        return self._student(batch) if phase == STUDENT else self._segmentation(batch)

    @torch.no_grad()
    def _gaussian(self, batch: Batch) -> dict[str, Tensor]:
        """Add the teacher's features of the normal tiles; return their mean squared spread."""
        prior = self.module.prior
        assert self._moments is not None and prior is not None
        levels = self._teacher_levels(batch.normal)[PRIOR]
        return {"spread": self._moments.add(prior.features(levels))}

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
        """Choose the branch that separates anomalous from normal best, unless one is set.

        The number of pixels that the score averages is chosen with it, unless that is set or the
        prior was calibrated with the usual number.
        """
        net, settings = self.module.eval(), self.settings.network
        scores_of = self._normal_scores(held_back)
        measured = measure(held_back, lambda rgb: _branches(net, rgb, scores_of))
        branch = best(measured) if settings.branch == "auto" else settings.branch
        if net.prior is not None:
            net.prior.calibrate(scores_of[branch], scores_of[GAUSSIAN])
        if settings.branch != "auto":
            config = net.config.model_copy(update={"branch": settings.branch})
            return BranchChoice(
                config, {"branch": settings.branch, "why": NAMED, "measured": measured}
            )
        net.config = net.config.model_copy(update={"branch": branch})
        report: dict[str, Any] = {"branch": branch, "why": WHY, "measured": measured}
        if settings.top_k is None and net.prior is None:
            pixels = measure(held_back, lambda rgb: _pixel_counts(net, rgb))
            net.config = net.config.model_copy(update={"top_k": best_top_k(net.top_k, pixels)})
            report |= {"top_k": net.config.top_k, "top_k_measured": pixels}
        return BranchChoice(net.config, report)

    def _normal_scores(self, held_back: Batch) -> dict[str, ScoreSpread]:
        """Set the prior's Gaussian; return the scores of every map on held-back normal tiles."""
        net = self.module
        if net.prior is None or self._moments is None:
            return {}
        self._moments.fill(net.prior.gaussian)
        del net.moments
        parts = [_branches(net, rgb, {}) for rgb in torch.split(held_back.normal, BATCH_SIZE)]
        return {
            name: ScoreSpread.of(torch.cat([part[name][1] for part in parts])) for name in parts[0]
        }


def best_top_k(usual: int, measured: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the number of pixels of the highest selection score; the usual one of near equals."""
    first = best(measured)
    gain = measured[first]["selection_score"] - measured[str(usual)]["selection_score"]
    return int(first) if gain > TOP_K_GAIN else usual


def mask_at(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale the mask to the segmentation grid: bilinear, then 1 from 0.5 on."""
    small = F.interpolate(mask, size=size, mode="bilinear", align_corners=False)
    return (small >= 0.5).float()


def _branches(
    net: DeSTSeg, rgb: Tensor, scores_of: dict[str, ScoreSpread]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return each branch's maps and scores, with the prior added once `scores_of` are known.

    Without them the prior is a branch like the others.
    """
    teacher, student = net.levels(rgb)
    directions = net.directions(teacher), net.directions(student)
    maps: dict[str, Tensor] = {name: net.branch_map(name, *directions) for name in get_args(Branch)}
    if net.prior is not None:
        prior = net.prior.distance(teacher[PRIOR])
        for branch in maps if scores_of else ():
            net.prior.calibrate(scores_of[branch], scores_of[GAUSSIAN])
            maps[branch] = net.prior.fused(maps[branch], prior)
        maps |= {} if scores_of else {GAUSSIAN: prior}
    return {branch: (values, net.score(values)) for branch, values in maps.items()}


def _pixel_counts(net: DeSTSeg, rgb: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the map with the score from a quarter, one and four times the usual pixels."""
    values, _ = net(rgb)
    most = min(MOST_PIXELS, values[0].numel())
    counts = sorted({max(1, net.top_k // 4), net.top_k, min(most, 4 * net.top_k)})
    top = torch.topk(values.flatten(1), counts[-1], dim=1).values
    return {str(count): (values, top[:, :count].mean(dim=1)) for count in counts}


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
        "paper": {"network.branch": "segmentation", **ALL_AS_PUBLISHED},
    },
)
