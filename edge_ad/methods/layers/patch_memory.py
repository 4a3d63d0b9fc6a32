"""Distance of features to the nearest of remembered ones, as one 1x1 convolution and a minimum.

|x - m|^2 = |x|^2 - 2 x m + |m|^2: the products with all rows are a convolution, whose bias is
|m|^2. Features and rows are centred, so that these terms stay near the distance.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edge_ad.methods.layers.blocks import SizeHW
from edge_ad.methods.layers.patch_features import PatchFeatures


class PatchMemory(nn.Module):
    """Features (N, D, h, w) -> squared distance (N, 1, h, w) to the nearest of `count` rows."""

    centre: Tensor

    def __init__(self, dimensions: int, count: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(dimensions, 1, 1))
        self.resize(count)

    def forward(self, features: Tensor) -> Tensor:
        return nearest(*self.products(features))

    def products(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distances to all rows less |x|^2 (N, rows, h, w), and |x|^2 (N, 1, h, w)."""
        x = features - self.centre
        return self.rows(x), (x * x).sum(dim=1, keepdim=True)

    def resize(self, count: int) -> None:
        """Make room for this many rows; what was remembered is lost."""
        self.rows = nn.Conv2d(len(self.centre), count, 1).requires_grad_(requires_grad=False)

    @torch.no_grad()
    def remember(self, rows: Tensor) -> Tensor:
        """Store features (rows, D) in place of what was remembered; return them, centred."""
        self.resize(len(rows))
        self.centre.copy_(rows.mean(dim=0)[:, None, None])
        centred = rows - self.centre[:, 0, 0]
        self.rows.weight.copy_(-2 * centred[:, :, None, None])
        assert self.rows.bias is not None
        self.rows.bias.copy_(centred.double().square().sum(dim=1))
        return centred


def nearest(partial: Tensor, squares: Tensor) -> Tensor:
    """Return the squared distance (N, 1, h, w) to the nearest row, of a memory's products."""
    return torch.relu(partial.amin(dim=1, keepdim=True) + squares)


def affordable_rows(features: PatchFeatures, share: float, size_hw: SizeHW) -> int:
    """Return how many rows may be compared at a share of the operations of these features.

    `features` lie on the device `meta`: nothing is computed.
    """
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        features(torch.zeros(1, 3, *size_hw))
    height, width = features.grid(size_hw)
    per_row = 2 * height * width * features.dimensions
    return max(16, int(share * counter.get_total_flops() / per_row))
