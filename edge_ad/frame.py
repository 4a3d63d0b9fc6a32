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
    the image when the source is a folder or an image, otherwise empty.
    """

    image: Image
    index: int
    captured_s: float
    source: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A grab without an image: its verdict is INVALID, never PASS."""

    reason: str
    index: int
    captured_s: float
    source: str
    file: str = ""


Grab: TypeAlias = Frame | BadFrame
