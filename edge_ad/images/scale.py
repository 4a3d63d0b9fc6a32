"""Make images smaller or larger for people to look at; engines get theirs from `preprocess`."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def scaled(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Return an image at a scale; at least one pixel of each side is left."""
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
