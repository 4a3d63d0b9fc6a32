"""The training batch that every method takes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Normal tiles and anomalous copies of them, float32 (N, 3, H, W) RGB in 0..1.

    `mask` float32 (N, 1, H, W) is 1 where the copy is anomalous, else 0; `tile` int64 (N,) numbers
    the tiles. `kind` int64 (N,) numbers the anomalies' kinds in `synthesis.kinds.KINDS` where a
    detector is chosen by them.
    """

    normal: Tensor
    anomalous: Tensor
    mask: Tensor
    tile: Tensor
    kind: Tensor | None = None

    def on(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        moved = Batch(*(part.to(device) for part in self[:4]))
        return moved._replace(kind=None if self.kind is None else self.kind.to(device))
