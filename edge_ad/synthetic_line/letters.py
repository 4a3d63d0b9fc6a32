"""Bitmap font of the print, identical with every OpenCV version (their own fonts differ)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.synthetic_line.noise import Field

ROWS, COLUMNS = 7, 5
ADVANCE = 6  # columns from one letter to the next
_ROWS_OF = {  # each number is a row of five dots, leftmost dot in the highest bit
    "E": (31, 16, 16, 30, 16, 16, 31),
    "D": (30, 17, 17, 17, 17, 17, 30),
    "G": (14, 17, 16, 23, 17, 17, 14),
    "A": (14, 17, 17, 31, 17, 17, 17),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "N": (17, 25, 25, 21, 19, 19, 17),
    "B": (30, 17, 17, 30, 17, 17, 30),
    "V": (17, 17, 17, 17, 17, 10, 4),
    "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14),
    "2": (14, 17, 1, 6, 8, 16, 31),
    "4": (2, 6, 10, 18, 31, 2, 2),
    "5": (31, 16, 30, 1, 1, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "/": (1, 1, 2, 4, 8, 16, 16),
    "-": (0, 0, 0, 14, 0, 0, 0),
    ".": (0, 0, 0, 0, 0, 12, 12),
    " ": (0, 0, 0, 0, 0, 0, 0),
}


def draw_text(text: str, height_px: float) -> Field:
    """Draw a line of capitals `height_px` high with rounded strokes, as ink 0..1 (H, W)."""
    dots = np.zeros((ROWS + 2, ADVANCE * len(text) + 2), np.float32)
    for place, letter in enumerate(text):
        left = 1 + ADVANCE * place
        dots[1 : 1 + ROWS, left : left + COLUMNS] = _dots(letter)
    side = height_px / ROWS
    size = (round(dots.shape[1] * side), round(dots.shape[0] * side))
    spread = cv2.resize(dots, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip((spread - 0.5) * max(2.0, side) + 0.5, 0, 1), np.float32)


def width_of(text: str, height: float) -> float:
    """Return the width of a line of text, in the unit of `height`."""
    return (ADVANCE * len(text) - 1) * height / ROWS


def _dots(letter: str) -> NDArray[np.float32]:
    rows = np.array(_ROWS_OF[letter])[:, None]
    return ((rows >> np.arange(COLUMNS - 1, -1, -1)) & 1).astype(np.float32)
