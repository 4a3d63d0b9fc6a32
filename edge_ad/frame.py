"""One captured image, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
"""uint8 (H, W, 3), BGR as OpenCV delivers it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """An image as a source delivered it.

    `captured_s` is on the monotonic clock: good for ages, not a time of day. `file` is the name of
    the image when the source is a folder or an image, otherwise empty. `triggered_s` is when a
    trigger asked for it, on the same clock, None without one.
    """

    image: Image
    index: int
    captured_s: float
    source: str
    file: str = ""
    triggered_s: float | None = None


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A grab without an image: its verdict is INVALID, never PASS."""

    reason: str
    index: int
    captured_s: float
    source: str
    file: str = ""
    triggered_s: float | None = None


Grab: TypeAlias = Frame | BadFrame
