"""Mahalanobis distance of features to those of normal parts.

As Rippel et al. (ICPR 2020) and PaDiM (Defard et al., ICPR 2020), with one Gaussian for all
positions: it needs neither aligned parts nor many images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHRINKAGE = 0.01  # share of the mean variance in every direction, as PaDiM's regularisation


class GaussianDistance(nn.Module):
    """Features (N, D, h, w) -> distance (N, 1, h, w), 1 where they vary as on normal parts.

    The root of the mean of squares of the whitened features: one 1x1 convolution.
    """

    mean: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimensions, 1, 1))
        self.whiten = nn.Conv2d(dimensions, dimensions, 1, bias=False)
        self.whiten.requires_grad_(requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        z: Tensor = self.whiten(features - self.mean)
        return z.square().mean(dim=1, keepdim=True).sqrt()

    @torch.no_grad()
    def set(self, mean: Tensor, covariance: Tensor) -> None:
        """Store the Gaussian of `mean` (D,) and `covariance` (D, D), shrunk to a round one."""
        variances, directions = torch.linalg.eigh(covariance.double().cpu())
        typical = variances.mean().clamp(min=1e-12)
        shrunk = (1 - SHRINKAGE) * variances.clamp(min=0) + SHRINKAGE * typical
        whiten = (directions / shrunk.sqrt()).T
        self.mean.copy_(mean[:, None, None])
        self.whiten.weight.copy_(whiten[:, :, None, None])


class Moments(nn.Module):
    """Count, sum and products of features, in double precision; a module, so it is checkpointed."""

    count: Tensor
    total: Tensor
    products: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("total", torch.zeros(dimensions, dtype=torch.float64))
        self.register_buffer("products", torch.zeros(dimensions, dimensions, dtype=torch.float64))

    @torch.no_grad()
    def add(self, features: Tensor) -> Tensor:
        """Add features (N, D, h, w); return their mean squared spread."""
        rows = features.float().transpose(0, 1).flatten(1).T
        mean = rows.mean(dim=0)
        centred = rows - mean
        scatter = (centred.T @ centred).double()
        self.count += len(rows)
        self.total += rows.double().sum(dim=0)
        self.products += scatter + len(rows) * torch.outer(mean.double(), mean.double())
        return scatter.trace().float() / len(rows)

    def fill(self, distance: GaussianDistance) -> None:
        """Give the Gaussian of the added features to a distance."""
        mean = self.total / self.count
        distance.set(mean, self.products / self.count - torch.outer(mean, mean))
