"""Bounding boxes of anomalies, which the contrastive losses compare."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def boxes_of(mask: Tensor, min_px: int, max_share: float) -> tuple[Tensor, Tensor]:
    """Return the bounding box of each mask's largest component, and which masks have one.

    mask (N, 1, H, W), 0 or 1 -> boxes int64 (N, 4) as x0, y0, x1, y1, ends exclusive, and bool
    (N,). A box is grown about its centre to `min_px` a side, cut to `max_share` of the image's
    side, and moved to lie inside. An empty mask gets a box about the image's centre.
    """
    components = [_largest(part) for part in mask[:, 0].cpu().numpy().astype(np.uint8)]
    height, width = mask.shape[2:]
    rows = []
    for component in components:
        x, y, wide, high = component or (0, 0, width, height)
        x0, x1 = _fitted(x, wide, width, min_px, max_share)
        y0, y1 = _fitted(y, high, height, min_px, max_share)
        rows.append((x0, y0, x1, y1))
    present = [component is not None for component in components]
    return torch.tensor(rows, device=mask.device), torch.tensor(present, device=mask.device)


def inside(boxes: Tensor, rows: int, columns: int, size_hw: tuple[int, int]) -> Tensor:
    """Return float32 (N, 1, rows, columns), 1 for the cells of the grid that a box touches."""
    x0, y0, x1, y1 = (edge[:, None].float() for edge in boxes.unbind(1))
    x = torch.arange(columns, device=boxes.device) * (size_hw[1] / columns)
    y = torch.arange(rows, device=boxes.device) * (size_hw[0] / rows)
    across = (x < x1) & (x + size_hw[1] / columns > x0)
    down = (y < y1) & (y + size_hw[0] / rows > y0)
    return (down[:, None, :, None] & across[:, None, None, :]).float()


def _largest(mask: NDArray[Any]) -> tuple[int, int, int, int] | None:
    """Return x, y, width, height of the component with most pixels; None for an empty mask."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    if len(stats) < 2:
        return None
    best = stats[1:][stats[1:, cv2.CC_STAT_AREA].argmax()]
    x, y, width, height = (int(value) for value in best[:4])
    return x, y, width, height


def _fitted(start: int, length: int, side: int, min_px: int, max_share: float) -> tuple[int, int]:
    """Return start and end along one axis."""
    fitted = min(max(length, min_px), max(1, int(side * max_share)))
    start = round(start + (length - fitted) / 2)
    start = min(max(start, 0), side - fitted)
    return start, start + fitted
