"""Foreground mask of a part on a plain background, so that anomalies stay on the part."""

from __future__ import annotations

import cv2
import numpy as np

from edge_ad.frame import Image
from edge_ad.synthesis.perlin import Mask

CLOSE_SHARE = 0.03  # of the shorter side: narrower gaps in the part are closed


def foreground_mask(normal: Image) -> Mask:
    """Return bool (H, W), true on the part of a tile, or everywhere when it cannot be separated.

    Otsu's threshold splits the grey tile; the class that is rarer on the border is the part. Its
    gaps are closed and its holes filled.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(normal, cv2.COLOR_BGR2GRAY), (5, 5), 0)
    _, split = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    bright = np.asarray(split, np.uint8)
    rim = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    part = 1 - bright if rim.mean() > 0.5 else bright
    side = max(3, 2 * round(CLOSE_SHARE * min(part.shape) / 2) + 1)
    closed = cv2.morphologyEx(part, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    filled = _fill_holes(np.asarray(closed, np.uint8))
    return filled if filled.any() else np.ones_like(filled)


def _fill_holes(part: np.ndarray) -> Mask:
    """Fill the inside of every outer contour."""
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    drawn = cv2.drawContours(np.zeros_like(part), contours, -1, 1, cv2.FILLED)
    return np.asarray(drawn) > 0
