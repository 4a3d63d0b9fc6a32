"""DeSTSeg's training (paper, sections 3.2 to 4.1, and the released code): student, then head."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from edge_ad.errors import UsageError
from edge_ad.methods.destseg.network import Branch, DeSTSeg, DeSTSegConfig, default_top_k
from edge_ad.methods.layers.resnet import WHERE, load_resnet18
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import measure
from edge_ad.methods.learning.frozen_features import FrozenFeatures
from edge_ad.methods.learning.losses import cosine_loss, focal_loss, l1_loss
from edge_ad.methods.learning.trainer import (
    BranchChoice,
    MethodTraining,
    Phase,
    TrainingSettings,
    shaped,
)

HOME = {"segmentation": 0.02}  # merit that having been trained on such damage is worth
WHY = f"highest merit on held-back good images, the segmentation's less {HOME['segmentation']}"

Rate = Annotated[float, Field(gt=0)]
STUDENT, SEGMENTATION = "student", "segmentation"


class DeSTSegSettings(TrainingSettings):
    """The published schedule. `student_share` splits steps; `student_time` splits a time budget.

    `branch` None measures which branch scores best; `top_k` None scales the paper's 100 with the
    image area. `width` scales student and segmentation net.
    """

    steps: Annotated[int, Field(ge=2)] = 5000
    student_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    student_time: Annotated[float, Field(gt=0, lt=1)] = 0.2
    lr_student: Rate = 0.4
    lr_res: Rate = 0.1
    lr_head: Rate = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    focal: Annotated[float, Field(ge=0)] = 1.0
    gamma: Annotated[float, Field(ge=0)] = 4.0
    l1: Annotated[float, Field(ge=0)] = 1.0
    width: Annotated[float, Field(ge=0.0625, le=2)] = 1.0
    branch: Branch | Literal["auto"] = "auto"
    top_k: Annotated[int, Field(ge=1, le=3840)] | None = None
    norm_eps: Annotated[float, Field(ge=1e-6, le=1e-2)] = 1e-6


class DeSTSegTrainer:
    """Phase `student` fits the student alone, phase `segmentation` the segmentation net alone."""

    def __init__(
        self, settings: DeSTSegSettings, size_hw: tuple[int, int], teacher: Path | None
    ) -> None:
        if teacher is None:
            raise UsageError(f"DeSTSeg needs a teacher's weights: --teacher FILE. {WHERE}")
        self.settings = settings
        self.module = DeSTSeg(_config(settings, size_hw), size_hw)
        load_resnet18(self.module.teacher, teacher)
        self._frozen = FrozenFeatures(self._see)
        student = max(1, round(settings.steps * settings.student_share))
        self.phases = (
            Phase(STUDENT, student, settings.student_time),
            Phase(SEGMENTATION, settings.steps - student, 1 - settings.student_time),
        )

    def begin(self, phase: str) -> Optimizer:
        net, s = self.module.eval(), self.settings
        trained: nn.Module = net.student if phase == STUDENT else net.segmentation
        net.requires_grad_(requires_grad=False)
        trained.train().requires_grad_()
        res = list(net.segmentation.res.parameters())
        kept = {id(parameter) for parameter in res}
        head = [p for p in net.segmentation.parameters() if id(p) not in kept]
        groups = {
            STUDENT: [{"params": list(net.student.parameters()), "lr": s.lr_student}],
            SEGMENTATION: [{"params": res, "lr": s.lr_res}, {"params": head, "lr": s.lr_head}],
        }
        return SGD(groups[phase], momentum=s.momentum, weight_decay=s.weight_decay)

    def losses(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        return self._student(batch) if phase == STUDENT else self._segmentation(batch)

    def _student(self, batch: Batch) -> dict[str, Tensor]:
        """The student sees damage and must answer as the teacher does to the clean tile."""
        net = self.module
        wanted = self._teacher(batch)
        given = net.student(net.normalised(batch.anomalous))
        with torch.autocast(batch.normal.device.type, enabled=False):
            return {"cosine": cosine_loss(*(net.directions(_float(x)) for x in (wanted, given)))}

    def _teacher(self, batch: Batch) -> list[Tensor]:
        """The teacher's levels for the clean tiles; tiles that never turn are looked at once."""
        if batch.normal.is_cuda or self.settings.synthesis.rotation != "none":
            with torch.no_grad():
                return list(self._see(batch.normal))
        return self._frozen(batch.normal, batch.tile)

    def _see(self, rgb: Tensor) -> tuple[Tensor, ...]:
        levels: tuple[Tensor, ...] = self.module.teacher(self.module.normalised(rgb))
        return levels

    def _segmentation(self, batch: Batch) -> dict[str, Tensor]:
        """Teacher and student both see damage; the segmentation net learns to point at it."""
        net, s = self.module, self.settings
        with torch.no_grad():
            teacher, student = (
                self._see(batch.anomalous),
                net.student(net.normalised(batch.anomalous)),
            )
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
        """Score with the branch that tells damaged from clean best, unless one was named."""
        net = self.module.eval()
        measured = measure(held_back, lambda rgb: _branches(net, rgb))
        best = best_branch({branch: one["selection_score"] for branch, one in measured.items()})
        named = self.settings.branch
        chosen = best if named == "auto" else named
        config = net.config.model_copy(update={"branch": chosen})
        why = "named by the user" if named != "auto" else WHY
        return BranchChoice(config, {"branch": chosen, "why": why, "measured": measured})


def best_branch(merits: dict[str, float]) -> str:
    """The branch of highest merit; the segmentation must win by more than a narrow margin.

    It was trained on damage of these kinds: on magnetic tiles one that led the distance by 0.02 was
    far behind it on real defects.
    """
    return max(merits, key=lambda branch: merits[branch] - HOME.get(branch, 0.0))


def mask_at(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The mask on the segmentation grid: bilinear, then 1 from 0.5 on."""
    small = F.interpolate(mask, size=size, mode="bilinear", align_corners=False)
    return (small >= 0.5).float()


def _config(settings: DeSTSegSettings, size_hw: tuple[int, int]) -> DeSTSegConfig:
    return shaped(
        DeSTSegConfig,
        {
            "width": settings.width,
            "top_k": settings.top_k or default_top_k(size_hw),
            "norm_eps": settings.norm_eps,
        },
    )


def _branches(net: DeSTSeg, rgb: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Each branch's maps and scores."""
    features = net.features(rgb)
    maps: dict[str, Tensor] = {name: net.branch_map(name, *features) for name in get_args(Branch)}
    return {branch: (values, net.score(values)) for branch, values in maps.items()}


def _float(levels: Iterable[Tensor]) -> list[Tensor]:
    return [level.float() for level in levels]


TRAINING = MethodTraining(
    "destseg",
    DeSTSegSettings,
    DeSTSegTrainer,
    presets={
        "edge": {
            "width": 0.25,
            "batch": 16,
            "student_time": 0.5,
            "lr_tail": 0.3,
            "synthesis.structural_share": 0.5,
        }
    },
)
