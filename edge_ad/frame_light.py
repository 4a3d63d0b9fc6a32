"""Measure the light and the sharpness of a frame, and whether it has colour."""

from __future__ import annotations

from typing import NamedTuple

import cv2

from edge_ad.frame import Image, pixels_of
from edge_ad.preprocess import subsample, tint_of

USUAL_CHANGE = 2.0  # grey levels of a median: less is no change of light to act on
_STEP = 4  # pixels: a sample of the image has its light and, nearly, its sharpness
_TINT = 8  # grey levels between channels that no noise and no compression of a grey image makes


class FrameLight(NamedTuple):
    """Brightness in grey levels, and the variance of the Laplacian of a sample of the pixels.

    Sharpness is comparable between images of one size only.
    """

    brightness: float
    sharpness: float


def light_of(image: Image) -> FrameLight:
    """Measure a uint8 (H, W, 3) BGR image."""
    sample = subsample(pixels_of(image), _STEP)
    grey = sample if sample.ndim == 2 else cv2.cvtColor(sample, cv2.COLOR_BGR2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return FrameLight(cv2.mean(grey)[0], float(deviation[0, 0]) ** 2)


def has_colour(image: Image) -> bool:
    """Return whether a uint8 (H, W, 3) BGR image has a pixel that is clearly not grey."""
    return tint_of(subsample(pixels_of(image), _STEP)) >= _TINT
