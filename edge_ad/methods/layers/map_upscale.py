"""From a grid of distances to a smooth map at full size, as two matrix products."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.methods.layers.blocks import SizeHW

SIGMA_PX, SIGMA_AT = 4.0, 224  # the smoothing of PatchCore's and PaDiM's code, and its image side
MOST_SIGMA = 64.0
TRUNCATE = 4.0  # deviations at which scipy.ndimage cuts the Gaussian off


class MapUpscale(nn.Module):
    """Grid (N, 1, h, w) -> map (N, H, W): bilinear, then a Gaussian of `sigma` pixels.

    Equal to scipy.ndimage.gaussian_filter of the enlarged grid, mirrored at the border. Both steps
    are linear and separable, so the map is A grid B^T with one matrix for each direction.
    """

    down: Tensor
    across: Tensor

    def __init__(self, grid_hw: SizeHW, size_hw: SizeHW, sigma: float) -> None:
        super().__init__()
        for name, cells, pixels in zip(("down", "across"), grid_hw, size_hw, strict=True):
            matrix = blur_matrix(pixels, sigma) @ enlarge_matrix(cells, pixels)
            self.register_buffer(name, matrix, persistent=False)

    def forward(self, grid: Tensor) -> Tensor:
        return (self.down @ grid @ self.across.T)[:, 0]


def default_sigma(size_hw: SizeHW) -> float:
    """Return the published smoothing of 4 pixels at 224, scaled with the image, up to 64."""
    return min(MOST_SIGMA, round(SIGMA_PX * math.sqrt(size_hw[0] * size_hw[1]) / SIGMA_AT, 2))


def enlarge_matrix(cells: int, pixels: int) -> Tensor:
    """Return bilinear enlargement, half-pixel centres, as (pixels, cells)."""
    unit = torch.eye(cells)[:, None]
    return F.interpolate(unit, size=pixels, mode="linear", align_corners=False)[:, 0].T


def blur_matrix(pixels: int, sigma: float) -> Tensor:
    """Return a Gaussian filter as (pixels, pixels); beyond the border the line is mirrored."""
    if not sigma:
        return torch.eye(pixels)
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    places = (torch.arange(pixels)[:, None] + offsets) % (2 * pixels)
    mirrored = torch.minimum(places, 2 * pixels - 1 - places)
    rows = (weights / weights.sum()).expand(pixels, -1)
    return torch.zeros(pixels, pixels).scatter_add(1, mirrored, rows)
