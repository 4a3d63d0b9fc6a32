"""Tells images that show something new from those that repeat an earlier one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.preprocess import Preprocess

# Root mean square, in grey levels, between thumbnails. Measured on three inspection sets: a copy
# with sensor noise of 3 levels differs by 0.7 to 0.9, recompressed as JPEG 80 by 0.3 to 0.5; the
# two most alike images of different parts by 1.9, 2.8 and 3.2. Midway, by ratio:
SAME = 1.3
_SIDE = 32  # pixels of a thumbnail's side; a cell's average has little of the sensor's noise left


class Deduplicator:
    """Remembers thumbnails of what the line judges: region of interest, no ignored polygons."""

    def __init__(self, geometry: Geometry) -> None:
        seen = Geometry(roi_xywh=geometry.roi_xywh, ignore=geometry.ignore)
        self._shrink = Preprocess((_SIDE, _SIDE), seen)
        self._count = 0
        self._thumbs = np.empty((64, _SIDE * _SIDE * 3), np.uint8)
        self._means = np.empty(64, np.float32)

    def repeats(self, image: Image) -> int | None:
        """Which distinct image, counted from 0, this one repeats; None when it is a new one."""
        thumb = self._thumb(image)
        mean = np.float32(thumb.mean())
        near = np.flatnonzero(np.abs(self._means[: self._count] - mean) < SAME)
        if near.size:  # a mean never differs by more than the root mean square
            gaps = self._thumbs[near].astype(np.float32) - thumb
            squares = np.einsum("ij,ij->i", gaps, gaps) / thumb.size
            if squares.min() < SAME**2:
                return int(near[squares.argmin()])
        self._remember(thumb, mean)
        return None

    def _thumb(self, image: Image) -> NDArray[np.float32]:
        thumb = self._shrink(image)[0]
        thumb[self._shrink.ignored((image.shape[0], image.shape[1]))] = 0
        return np.asarray(thumb.reshape(-1), np.float32)

    def _remember(self, thumb: NDArray[np.float32], mean: np.float32) -> None:
        """Grow by doubling: thousands of images must not copy the store each time."""
        if self._count == len(self._means):
            self._thumbs = np.concatenate([self._thumbs, np.empty_like(self._thumbs)])
            self._means = np.concatenate([self._means, np.empty_like(self._means)])
        self._thumbs[self._count], self._means[self._count] = thumb, mean
        self._count += 1
