"""Losses of DeSTSeg (paper, sections 3.1, 3.3), DRAEM (3.3 and code), and of restoration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cosine_loss(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
    """Return the sum over levels and batch of the mean over positions of 1 - cosine.

    Inputs have length 1 along the channels.
    The sum over the batch is the released code's; its learning rate of 0.4 belongs to it.
    """
    levels = [
        (1 - (t * s).sum(dim=1)).mean(dim=(1, 2)).sum()
        for t, s in zip(teacher, student, strict=True)
    ]
    return torch.stack(levels).sum()


def focal_loss(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Return the mean of -(1 - p)^gamma log p, p the probability of the true class.

    `target` is 0 or 1.
    """
    log_p = torch.nn.functional.logsigmoid(torch.where(target > 0.5, logits, -logits))
    return (-((1 - log_p.exp()) ** gamma) * log_p).mean()


def l1_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean distance of the probability to the mask."""
    return (torch.sigmoid(logits) - target).abs().mean()


def smooth_focal_loss(logits: Tensor, target: Tensor, gamma: float, eps: float) -> Tensor:
    """Return DRAEM's unweighted focal loss of logits (N, 2, H, W) and target (N, 1, H, W), 0 or 1.

    The one-hot target is kept `eps` away from 0 and 1, and `eps` is added to the probability.
    """
    both = torch.cat([1 - target, target], dim=1).clamp(eps, 1 - eps)
    p = (both * torch.softmax(logits, dim=1)).sum(dim=1) + eps
    return (-((1 - p) ** gamma) * torch.log(p)).mean()


def restoration_losses(
    errors: dict[str, Tensor], mask: Tensor, anomaly_weight: float
) -> dict[str, Tensor]:
    """Return the mean of each error map (N, C, H, W) and, as `anomaly`, a term for the mask.

    `mask` float (N, 1, H, W) is 1 where tiles are anomalous; the term is `anomaly_weight` times
    the mean of all errors there. Anomalies cover a hundredth of a tile: without a term for them,
    the rest, whose grain no network restores, outweighs them.
    """
    losses = {name: error.mean() for name, error in errors.items()}
    if anomaly_weight:
        error = torch.stack([error.mean(dim=1, keepdim=True) for error in errors.values()]).sum(0)
        losses["anomaly"] = anomaly_weight * (error * mask).sum() / mask.sum().clamp(min=1)
    return losses
