"""Reject frames that show a camera fault instead of a part.

A black, saturated, frozen, torn or stale frame says something about the camera and nothing about
the part, so it never reaches the engine.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Frame, Image, pixels_of
from edge_ad.preprocess import subsample, tint_of

_STRIDE = 8  # a fault covers the frame, so every 8th pixel of every 8th row is enough
_DARK, _BRIGHT = 4, 251  # grey levels; a covered lens reads 0 to 3 with sensor noise
_SMALLEST_PX = 8  # a side; no part can be made out on fewer
_FILL_ROWS = 16  # the last 1/16 of the rows: decoders fill missing rows with one colour


class FrameGate:
    """Checks one camera's frames.

    Only a live source can be frozen or stale: a folder may hold the same image twice, and a file
    waits to be read. `size_wh` is the only size that fits the geometry, None for that of the first
    frame. With `colour`, normal images have some, and a grey frame is a fault.
    """

    def __init__(
        self,
        *,
        live: bool,
        frozen_after: int = 5,
        stale_after_s: float | None = 2.0,
        size_wh: tuple[int, int] | None = None,
        colour: bool = False,
    ) -> None:
        self.live = live
        self._colour = colour
        self._frozen_after = frozen_after
        self._stale_after_s = stale_after_s
        self._last, self._repeats = b"", 0
        self._last_s = float("-inf")
        self._reopened = False
        self._size_wh = size_wh
        self._fits_geometry = size_wh is not None

    def reopened(self) -> None:
        """Note that the source was opened again: it may deliver its last frame once more."""
        self._reopened = True

    def fault(self, frame: Frame) -> str:
        """Return the reason why this frame cannot be judged, or an empty string."""
        if fault := _size_fault(frame.image):
            return fault
        pixels = pixels_of(frame.image)
        sample = subsample(pixels, _STRIDE)
        if fault := _exposure_fault(sample) or self._changed_size(frame):
            return fault
        if not frame.file and _is_torn(pixels):
            return "torn: the end of the image is a single colour"
        if fault := self._missing_colour(pixels, sample):
            return fault
        return self._live_fault(frame, sample) if self.live else ""

    def _missing_colour(self, pixels: NDArray[np.uint8], sample: NDArray[np.uint8]) -> str:
        if not self._colour or tint_of(sample) or tint_of(pixels):
            return ""
        return (
            "grey: no pixel has colour, and the images of the threshold do. Set the camera's pixel "
            "format or night mode back"
        )

    def _changed_size(self, frame: Frame) -> str:
        """Compare a frame's size with the known or first one: regions would be somewhere else.

        Files of a folder may differ in size; where the geometry forbids it, preprocessing says so.
        """
        if frame.file:
            return ""
        height, width = frame.image.shape[:2]
        self._size_wh = expected = self._size_wh or (width, height)
        if (width, height) == expected:
            return ""
        why = (
            "for which --roi and --ignore were given. Set the camera back"
            if self._fits_geometry
            else "as before. Set the camera back, or start the line again"
        )
        sizes = f"{width}x{height} pixels, expected {expected[0]}x{expected[1]}"
        return f"geometry_changed: {sizes} {why}"

    def _live_fault(self, frame: Frame, sample: NDArray[np.uint8]) -> str:
        content = sample.tobytes()
        reopened, self._reopened = self._reopened, False
        if content == self._last and (reopened or frame.captured_s == self._last_s):
            return "repeated: the camera delivered the same frame again"
        self._last_s = frame.captured_s
        self._repeats = self._repeats + 1 if content == self._last else 0
        self._last = content
        if self._repeats >= self._frozen_after:
            return f"frozen: the same image {self._repeats + 1} times"
        age_s = time.monotonic() - frame.captured_s
        if self._stale_after_s is not None and age_s > self._stale_after_s:
            return f"stale: captured {age_s:.1f} s ago"
        return ""


def content_fault(image: Image) -> str:
    """Return why an image (H, W, 3) of any origin cannot show a part, or an empty string."""
    return _size_fault(image) or _exposure_fault(subsample(pixels_of(image), _STRIDE))


def _size_fault(image: Image) -> str:
    height, width = image.shape[:2]
    if min(height, width) < _SMALLEST_PX:
        return f"too small: {width}x{height} pixels, expected at least {_SMALLEST_PX} a side"
    return ""


def _exposure_fault(sample: NDArray[np.uint8]) -> str:
    if int(sample.max()) < _DARK:
        return "black: no pixel is brighter than a covered lens"
    if int(sample.min()) > _BRIGHT:
        return "saturated: every pixel is white"
    return ""


def _is_torn(image: NDArray[np.uint8]) -> bool:
    """Return whether the last rows hold exactly one colour that is neither black nor white.

    A real sensor never repeats one grey level over whole rows. A clipped background does, at 0 or
    255, and is no fault.
    """
    rows = image[-max(1, image.shape[0] // _FILL_ROWS) :]
    colour = rows[0, 0]
    if not (colour.min() > 0 and colour.max() < 255) or (rows[-1, ::_STRIDE] != colour).any():
        return False
    return bool((rows == colour).all()) and bool((image != colour).any())
