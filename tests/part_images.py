"""Synthetic images of parts."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def part(seed: int, hw: tuple[int, int] = (120, 160)) -> NDArray[np.uint8]:
    """Draw a part with a grey, blotchy texture; parts of different seeds differ as real ones do."""
    fine = np.random.default_rng(seed).normal(0, 36, hw).astype(np.float32)
    grey = 120 + cv2.GaussianBlur(fine, (0, 0), 4)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def striped_part(seed: int, hw: tuple[int, int] = (48, 56)) -> NDArray[np.uint8]:
    """Draw a normal part: vertical stripes under noise, in colour."""
    rng = np.random.default_rng(seed)
    stripes = 120 + 40 * np.sin(np.arange(hw[1]) / 3)
    noise = rng.normal(0, 6, (*hw, 3))
    return np.clip(stripes[None, :, None] * (1.0, 0.8, 0.6) + noise, 0, 255).astype(np.uint8)
