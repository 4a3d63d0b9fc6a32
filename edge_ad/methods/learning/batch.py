"""The training batch that every method takes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Normal tiles and anomalous copies of them, float32 (N, 3, H, W) RGB in 0..1.

    `mask` float32 (N, 1, H, W) is 1 where the copy is anomalous, else 0; `tile` int64 (N,) numbers
    the tiles.
    """

    normal: Tensor
    anomalous: Tensor
    mask: Tensor
    tile: Tensor

    def on(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(part.to(device) for part in self))
