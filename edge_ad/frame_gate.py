"""Tells images that can be judged from images that only look like one.

A black, saturated, frozen, torn or stale frame says something about the camera and nothing about
the part, so it never reaches the engine.
"""

from __future__ import annotations

import time
import zlib

import numpy as np

from edge_ad.frame import Frame, Image

_STRIDE = 8  # a fault covers the frame, so every 8th pixel of every 8th row tells it
_DARK, _BRIGHT = 4, 251  # grey levels; a covered lens reads 0 to 3 with sensor noise
_FILL_ROWS = 16  # the last 1/16 of the rows: decoders fill what did not arrive with one colour


class FrameGate:
    """One camera's health, frame by frame. Frozen and stale are faults of live sources only:
    a folder may hold the same image twice, and a file waits for us.
    """

    def __init__(
        self, *, live: bool, frozen_after: int = 5, stale_after_s: float | None = 2.0
    ) -> None:
        self.live = live
        self._frozen_after = frozen_after
        self._stale_after_s = stale_after_s
        self._last, self._repeats = 0, 0

    def fault(self, frame: Frame) -> str:
        """Why this frame cannot be judged; empty when it can."""
        thin = _thinned(frame.image)
        if fault := _thin_fault(thin):
            return fault
        if not frame.file and _is_torn(frame.image):
            return "torn: the end of the image is a single colour"
        return self._live_fault(frame, thin) if self.live else ""

    def _live_fault(self, frame: Frame, thin: Image) -> str:
        content = zlib.crc32(thin.tobytes())
        self._repeats = self._repeats + 1 if content == self._last else 0
        self._last = content
        if self._repeats >= self._frozen_after:
            return f"frozen: the same image {self._repeats + 1} times"
        age_s = time.monotonic() - frame.captured_s
        if self._stale_after_s is not None and age_s > self._stale_after_s:
            return f"stale: captured {age_s:.1f} s ago"
        return ""


def content_fault(image: Image) -> str:
    """Why an image (H, W, 3) shows no part whoever took it; empty when it may."""
    return _thin_fault(_thinned(image))


def _thin_fault(thin: Image) -> str:
    if int(thin.max()) < _DARK:
        return "black: no pixel is brighter than a covered lens"
    if int(thin.min()) > _BRIGHT:
        return "saturated: every pixel is white"
    return ""


def _thinned(image: Image) -> Image:
    return np.ascontiguousarray(image[::_STRIDE, ::_STRIDE])


def _is_torn(image: Image) -> bool:
    """Whether the last rows hold exactly one colour that is neither black nor white.

    A real sensor never repeats one grey level over whole rows; a clipped background does, at 0
    or 255, and is left alone.
    """
    rows = image[-max(1, image.shape[0] // _FILL_ROWS) :]
    colour = rows[0, 0]
    if not (colour.min() > 0 and colour.max() < 255) or (rows[-1, ::_STRIDE] != colour).any():
        return False
    return bool((rows == colour).all()) and bool((image != colour).any())
