"""Find near-duplicate images by their thumbnails: the one place that decides what is a repeat.

Threshold estimation and the calibration report ask whether two images show the same part (rms
distance, `SAME_PART`); `edge-ad capture` asks whether a frame adds anything new (mean absolute
distance, `MIN_DIFFERENCE`, which users set in grey levels).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.preprocess import Preprocess

# Root mean square, in grey levels, between thumbnails. Measured on three inspection sets: a copy
# with sensor noise of 3 levels differs by 0.7 to 0.9, recompressed as JPEG 80 by 0.3 to 0.5; the
# two most similar images of different parts by 1.9, 2.8 and 3.2. Midway, by ratio:
SAME_PART = 1.3
# Mean absolute grey levels. Capture wants variety, not only distinct parts: a frame that differs
# less than this from one already kept is left out, even if it is not a copy.
MIN_DIFFERENCE = 2.0
THUMBNAIL_HW = (32, 32)  # a cell's average has little of the sensor's noise left

Floats: TypeAlias = NDArray[np.float32]
Distance: TypeAlias = Callable[[Floats], Floats]


def rms(differences: Floats) -> Floats:
    """Return the root mean square of each row, float32 (n, values) -> (n,)."""
    squares = np.einsum("ij,ij->i", differences, differences)
    return np.asarray(np.sqrt(squares / differences.shape[1]), np.float32)


def mean_absolute(differences: Floats) -> Floats:
    """Return the mean absolute value of each row, float32 (n, values) -> (n,)."""
    return np.asarray(np.abs(differences).mean(axis=1), np.float32)


class Thumbnailer:
    """Shrink images to uint8 (H, W, 3) BGR: the region of interest, ignored polygons black."""

    def __init__(
        self, geometry: Geometry | None = None, size_hw: tuple[int, int] = THUMBNAIL_HW
    ) -> None:
        geometry = geometry or Geometry()
        untiled = Geometry(roi_xywh=geometry.roi_xywh, ignore=geometry.ignore)
        self._preprocess = Preprocess(size_hw, untiled)

    def __call__(self, image: Image) -> Image:
        thumbnail: Image = self._preprocess(image)[0]
        thumbnail[self._preprocess.ignored((image.shape[0], image.shape[1]))] = 0
        return thumbnail


class Deduplicator:
    """Remember the thumbnails of distinct images and recognize repeats of them.

    `distance` must be at least the difference of two thumbnails' means, as `rms` and
    `mean_absolute` are; images closer than `limit` are near-duplicates.
    """

    def __init__(
        self,
        geometry: Geometry | None = None,
        *,
        size_hw: tuple[int, int] = THUMBNAIL_HW,
        distance: Distance = rms,
        limit: float = SAME_PART,
    ) -> None:
        self._thumbnailer = Thumbnailer(geometry, size_hw)
        self._distance, self._limit = distance, limit
        self._count = 0
        self._thumbnails = np.empty((64, size_hw[0] * size_hw[1] * 3), np.uint8)
        self._means = np.empty(64, np.float32)

    def repeats(self, image: Image) -> int | None:
        """Return the number, from 0, of the distinct image this one repeats; None if it is new."""
        thumbnail = self._thumbnailer(image).reshape(-1).astype(np.float32)
        mean = np.float32(thumbnail.mean())
        near = np.flatnonzero(np.abs(self._means[: self._count] - mean) < self._limit)
        if near.size:
            distances = self._distance(self._thumbnails[near].astype(np.float32) - thumbnail)
            if distances.min() < self._limit:
                return int(near[distances.argmin()])
        self._remember(thumbnail, mean)
        return None

    def _remember(self, thumbnail: Floats, mean: np.float32) -> None:
        """Grow by doubling: thousands of images must not copy the store each time."""
        if self._count == len(self._means):
            self._thumbnails = np.concatenate([self._thumbnails, np.empty_like(self._thumbnails)])
            self._means = np.concatenate([self._means, np.empty_like(self._means)])
        self._thumbnails[self._count], self._means[self._count] = thumbnail, mean
        self._count += 1


def near_duplicates(some: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Compare two stacks of thumbnails, (n, ...) and (m, ...): bool (n, m), true for one part."""
    if not len(some) or not len(others):
        return np.zeros((len(some), len(others)), np.bool_)
    a, b = (stack.reshape(len(stack), -1).astype(np.float64) for stack in (some, others))
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.asarray(squared < SAME_PART**2 * a.shape[1], np.bool_)
