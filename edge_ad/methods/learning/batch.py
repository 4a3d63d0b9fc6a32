"""The training batch that every method takes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """normal and anomalous float32 (N, 3, H, W) RGB in 0..1; mask float32 (N, 1, H, W), 0 or 1.

    `tile` int64 (N,) numbers the tiles.
    """

    normal: Tensor
    anomalous: Tensor
    mask: Tensor
    tile: Tensor

    def on(self, device: torch.device) -> Batch:
        return Batch(*(part.to(device) for part in self))
