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
