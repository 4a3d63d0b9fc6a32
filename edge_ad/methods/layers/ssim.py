"""Structural similarity as a loss (Wang et al., IEEE TIP 2004, with an 11x11 Gaussian window)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5


def ssim_loss(a: Tensor, b: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Return 1 - mean SSIM of two batches (N, C, H, W), a scalar; 0 for equal ones.

    `data_range` is fixed: one taken from the data would let an outlier change the scale.
    """
    return 1 - ssim_map(a, b, data_range=data_range).mean()


def ssim_map(a: Tensor, b: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Return SSIM at every pixel and channel, in [-1, 1]; zero padding. (N, C, H, W)."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_a, mean_b = _smooth(a), _smooth(b)
    both, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    covariance = _smooth(a * b) - both
    variances = _smooth(a * a) + _smooth(b * b) - squares
    structure = (2 * covariance + c2) / (variances + c2)
    return (2 * both + c1) / (squares + c1) * structure


def gaussian(side: int, sigma: float) -> Tensor:
    """Return a Gaussian window of `side` values that sum to one. (side,)."""
    place = torch.arange(side, dtype=torch.float32) - side // 2
    bell = torch.exp(-(place**2) / (2 * sigma**2))
    return bell / bell.sum()


def _smooth(x: Tensor) -> Tensor:
    channels = x.shape[1]
    bell = gaussian(WINDOW, SIGMA).to(x).view(1, 1, WINDOW, 1).repeat(channels, 1, 1, 1)
    x = F.conv2d(x, bell, padding=(WINDOW // 2, 0), groups=channels)
    return F.conv2d(x, bell.transpose(2, 3), padding=(0, WINDOW // 2), groups=channels)
