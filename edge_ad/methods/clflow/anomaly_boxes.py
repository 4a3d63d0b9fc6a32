"""Boxes around damage: what contrastive terms compare."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def boxes_of(mask: Tensor, at_least_px: int, at_most_share: float) -> tuple[Tensor, Tensor]:
    """Bounding box of each mask's largest component, and which masks have any.

    mask (N, 1, H, W), 0 or 1 -> boxes int64 (N, 4) as x0, y0, x1, y1, ends exclusive, and bool
    (N,). A box is grown about its centre to `at_least_px` a side, cut to `at_most_share` of the
    image's side, and moved to lie inside.
    """
    found = [_largest(one) for one in mask[:, 0].cpu().numpy().astype(np.uint8)]
    height, width = mask.shape[2:]
    boxes = [
        _fitted(box, width, at_least_px, at_most_share)
        + _fitted(box[1:], height, at_least_px, at_most_share)
        for box in (box or (0, 0, width, height) for box in found)
    ]
    ordered = [(x0, y0, x1, y1) for x0, x1, y0, y1 in boxes]
    real = torch.tensor([box is not None for box in found], device=mask.device)
    return torch.tensor(ordered, device=mask.device), real


def inside(boxes: Tensor, rows: int, columns: int, size_hw: tuple[int, int]) -> Tensor:
    """float32 (N, 1, rows, columns): 1 for the cells of a coarser grid that a box touches."""
    x0, y0, x1, y1 = (edge[:, None].float() for edge in boxes.unbind(1))
    x = torch.arange(columns, device=boxes.device) * (size_hw[1] / columns)
    y = torch.arange(rows, device=boxes.device) * (size_hw[0] / rows)
    across = (x < x1) & (x + size_hw[1] / columns > x0)
    down = (y < y1) & (y + size_hw[0] / rows > y0)
    return (down[:, None, :, None] & across[:, None, None, :]).float()


def _largest(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """x, y, width, height of the component with most pixels; None for an empty mask."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    if len(stats) < 2:
        return None
    best = stats[1:][stats[1:, cv2.CC_STAT_AREA].argmax()]
    x, y, width, height = (int(value) for value in best[:4])
    return x, y, width, height


def _fitted(box: tuple[int, ...], side: int, at_least: int, at_most: float) -> tuple[int, int]:
    """Start and end along one axis: the box's first and third number are start and length."""
    start, length = box[0], box[2]
    fitted = min(max(length, at_least), max(1, int(side * at_most)))
    start = round(start + (length - fitted) / 2)
    start = min(max(start, 0), side - fitted)
    return start, start + fitted
