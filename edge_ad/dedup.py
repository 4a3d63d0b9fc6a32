"""Find near-duplicate images by their thumbnails: the one place that decides what is a repeat.

Threshold estimation and the calibration report ask whether two images show the same part (rms
distance, `SAME_PART`); `edge-ad capture` asks whether a frame adds anything new (mean absolute
distance, `MIN_DIFFERENCE`, which users set in grey levels).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

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

_AT_ONCE = 256  # values of thumbnails that are compared before images too far away are given up

Floats: TypeAlias = NDArray[np.float32]


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

    Images closer than `limit` are near-duplicates. With a `power` of 2 their distance is the root
    mean square of the differences of thumbnails, with 1 the mean absolute value.
    """

    def __init__(
        self,
        geometry: Geometry | None = None,
        *,
        size_hw: tuple[int, int] = THUMBNAIL_HW,
        power: Literal[1, 2] = 2,
        limit: float = SAME_PART,
    ) -> None:
        values = size_hw[0] * size_hw[1] * 3
        self._thumbnailer = Thumbnailer(geometry, size_hw)
        self._power, self._limit, self._farthest = power, limit, values * limit**power
        self._order = np.random.default_rng(0).permutation(values)  # any few are of all places
        self._count = 0
        self._thumbnails = np.empty((64, values), np.uint8)
        self._means = np.empty(64, np.float32)

    def repeats(self, image: Image) -> int | None:
        """Return the number, from 0, of the distinct image this one repeats; None if it is new."""
        thumbnail = self._thumbnailer(image).reshape(-1)[self._order].astype(np.float32)
        mean = np.float32(thumbnail.mean())
        numbers, distances = self._near(thumbnail, mean)
        if numbers.size:
            return int(numbers[distances.argmin()])
        self._remember(thumbnail, mean)
        return None

    def _near(self, thumbnail: Floats, mean: np.float32) -> tuple[NDArray[np.intp], Floats]:
        """Return the images within the limit, and their summed differences.

        An image is given up once its differences so far exceed the limit: most are after a few.
        """
        numbers = np.flatnonzero(np.abs(self._means[: self._count] - mean) < self._limit)
        sums = np.zeros(len(numbers), np.float32)
        for start in range(0, len(thumbnail), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            differences = self._thumbnails[numbers, some].astype(np.float32) - thumbnail[some]
            sums += (np.abs(differences) ** self._power).sum(axis=1)
            near = sums < self._farthest
            numbers, sums = numbers[near], sums[near]
        return numbers, sums

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
