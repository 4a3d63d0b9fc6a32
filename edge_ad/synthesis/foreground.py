"""Where the part is, against a plain background: defects belong on the part."""

from __future__ import annotations

import cv2
import numpy as np

from edge_ad.frame import Image
from edge_ad.synthesis.perlin import Mask

CLOSE_SHARE = 0.03  # of the shorter side: gaps this wide in the part are closed


def foreground_mask(normal: Image) -> Mask:
    """True on the part of a tile uint8 (H, W, 3); everywhere when part and ground look alike.

    Otsu's threshold on grey splits the tile; the side that touches the rim less is the part, its
    gaps are closed and its holes filled.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(normal, cv2.COLOR_BGR2GRAY), (5, 5), 0)
    _, split = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    bright = np.asarray(split, np.uint8)
    rim = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    part = 1 - bright if rim.mean() > 0.5 else bright
    side = max(3, 2 * round(CLOSE_SHARE * min(part.shape) / 2) + 1)
    closed = cv2.morphologyEx(part, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    filled = _filled(np.asarray(closed, np.uint8))
    return filled if filled.any() else np.ones_like(filled)


def _filled(part: np.ndarray) -> Mask:
    """The area inside of every outer contour."""
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    drawn = cv2.drawContours(np.zeros_like(part), contours, -1, 1, cv2.FILLED)
    return np.asarray(drawn) > 0
