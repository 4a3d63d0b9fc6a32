"""One captured image, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError

Image: TypeAlias = NDArray[np.uint8]
"""uint8 (H, W, 3), BGR as OpenCV delivers it. Of a grey camera all channels may share one plane."""


@dataclass(frozen=True, slots=True)
class Frame:
    """An image as a source delivered it.

    `captured_s` is on the monotonic clock: good for ages, not a time of day. `file` is the name of
    the image when the source is a folder or an image, otherwise empty. `triggered_s` is when a
    trigger asked for it, on the same clock, None without one. Raises DataError for an image of
    another type or shape.
    """

    image: Image
    index: int
    captured_s: float
    source: str
    file: str = ""
    triggered_s: float | None = None

    def __post_init__(self) -> None:
        image = self.image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DataError(
                f"{self.source}: expected a uint8 array of shape (height, width, 3) in BGR order, "
                f"as cv2.imread returns it; got {image.dtype} {image.shape}. A grey image becomes "
                "one with cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)."
            )


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


def from_grey(plane: NDArray[np.uint8]) -> Image:
    """Return a grey plane (H, W) as BGR (H, W, 3), read-only, whose channels share its memory.

    What reads `pixels_of` the image works on a third of the bytes.
    """
    return np.broadcast_to(plane[:, :, np.newaxis], (*plane.shape, 3))


def pixels_of(image: Image) -> NDArray[np.uint8]:
    """Return the plane (H, W) that an image's channels share, or the image where none is shared."""
    return image[:, :, 0] if image.strides[2] == 0 else image
