"""What tells the latents of good and damaged tiles apart: CL-Flow's terms, as rebuilt here."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_SPREAD = 0.05  # of the level's own; a channel that hardly lives is not blown up


def standardise(norm: nn.LayerNorm, features: Tensor) -> None:
    """Let a fresh layer norm over (C, H, W) answer with mean 0 and spread 1 in every channel.

    One that is not fresh, like that of a resumed training, stays as it is.
    """
    if not (bool((norm.weight == 1).all()) and bool((norm.bias == 0).all())):
        return
    answers = norm(features)
    spread = answers.std(dim=(0, 2, 3)).clamp_min(LEAST_SPREAD)
    mean = answers.mean(dim=(0, 2, 3))
    norm.weight.copy_((1 / spread)[:, None, None].expand_as(norm.weight))
    norm.bias.copy_((-mean / spread)[:, None, None].expand_as(norm.bias))


def pull_loss(z: Tensor) -> Tensor:
    """1 - mean cosine between the global features of different images; 0 for a batch of one."""
    unit = F.normalize(z.mean(dim=(2, 3)), dim=1)
    cosines = unit @ unit.T
    pairs = len(z) * (len(z) - 1)
    return 1 - (cosines.sum() - cosines.diagonal().sum()) / pairs if pairs else z.sum() * 0


def push_loss(good: Tensor, hurt: Tensor, margin: float) -> Tensor:
    """Mean of how far the cosine of a damaged box and the same box undamaged exceeds the margin."""
    return torch.relu(F.cosine_similarity(good, hurt, dim=1) - margin).mean()


def separation_loss(good: Tensor, hurt: Tensor, mask: Tensor, *, near: float, far: float) -> Tensor:
    """By how much energies exceed `near` on good tiles, and fall short of `far` where damaged.

    An image is judged by its largest energy, so on good tiles the mean is over the cells that
    exceed `near` alone: over all cells, the few that raise false alarms would hardly count. A cell
    of the level counts as damaged when the mask covers a quarter of it.
    """
    energies = 0.5 * good.square().mean(dim=1), 0.5 * hurt.square().mean(dim=1)
    covered = F.adaptive_avg_pool2d(mask, (hurt.shape[2], hurt.shape[3]))[:, 0] >= 0.25
    over = torch.relu(energies[0] - near)
    short = torch.relu(far - energies[1]) * covered
    return over.sum() / (over > 0).sum().clamp_min(1) + short.sum() / covered.sum().clamp_min(1)


def box_mean(z: Tensor, weight: Tensor) -> Tensor:
    """Mean of z (N, C, H, W) where weight (N, 1, H, W) is 1. (N, C)."""
    return (z * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))
