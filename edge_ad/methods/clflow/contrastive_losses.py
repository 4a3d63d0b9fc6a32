"""Losses that separate latents of normal and anomalous tiles (CL-Flow, reconstructed)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MIN_STD = 0.05  # of the level's own; a nearly constant channel is not blown up


def standardise(norm: nn.LayerNorm, features: Tensor) -> None:
    """Set a fresh layer norm over (C, H, W) so that every channel has mean 0 and deviation 1.

    One that is not fresh, like that of a resumed training, stays as it is.
    """
    if not (bool((norm.weight == 1).all()) and bool((norm.bias == 0).all())):
        return
    normalised = norm(features)
    std = normalised.std(dim=(0, 2, 3)).clamp_min(MIN_STD)
    mean = normalised.mean(dim=(0, 2, 3))
    norm.weight.copy_((1 / std)[:, None, None].expand_as(norm.weight))
    norm.bias.copy_((-mean / std)[:, None, None].expand_as(norm.bias))


def pull_loss(z: Tensor) -> Tensor:
    """Return 1 - mean cosine between the global features of images; 0 for a batch of one."""
    unit = F.normalize(z.mean(dim=(2, 3)), dim=1)
    cosines = unit @ unit.T
    pairs = len(z) * (len(z) - 1)
    return 1 - (cosines.sum() - cosines.diagonal().sum()) / pairs if pairs else z.sum() * 0


def push_loss(normal: Tensor, anomalous: Tensor, margin: float) -> Tensor:
    """Return the mean excess over the margin of the cosine of a box, normal and anomalous."""
    return torch.relu(F.cosine_similarity(normal, anomalous, dim=1) - margin).mean()


def separation_loss(
    normal: Tensor, anomalous: Tensor, mask: Tensor, *, near: float, far: float
) -> Tensor:
    """Return by how much energies exceed `near` on normal tiles and miss `far` where anomalous.

    The score of an image is its largest energy, so on normal tiles the mean is over the cells that
    exceed `near` alone: over all cells, the few that raise false alarms would hardly count. A cell
    of the level counts as anomalous when the mask covers a quarter of it.
    """
    energies = 0.5 * normal.square().mean(dim=1), 0.5 * anomalous.square().mean(dim=1)
    size = (anomalous.shape[2], anomalous.shape[3])
    covered = F.adaptive_avg_pool2d(mask, size)[:, 0] >= 0.25
    over = torch.relu(energies[0] - near)
    short = torch.relu(far - energies[1]) * covered
    return over.sum() / (over > 0).sum().clamp_min(1) + short.sum() / covered.sum().clamp_min(1)


def box_mean(z: Tensor, weight: Tensor) -> Tensor:
    """Return the mean (N, C) of z (N, C, H, W) where weight (N, 1, H, W) is 1."""
    return (z * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))
