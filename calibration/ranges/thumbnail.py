"""What an image looks like, in a thumbnail, and how alike two images are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image

SIDE = 32  # pixels of a thumbnail's side
ALIKE = 1.5  # grey levels rms; sensor noise averaged over a thumbnail's cell stays well below


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """`thumbnail` uint8 (32, 32) grey; brightness is its mean, spread its standard deviation.

    `score` is the fp32 engine's, `size_hw` the image's own.
    """

    path: Path
    thumbnail: NDArray[np.uint8]
    score: float
    size_hw: tuple[int, int]
    damaged: bool = False

    @property
    def brightness(self) -> float:
        return float(self.thumbnail.mean())

    @property
    def spread(self) -> float:
        return float(self.thumbnail.std())


def thumbnail_of(path: Path, image: Image, score: float, *, damaged: bool = False) -> Thumbnail:
    """Look at uint8 (H, W, 3) BGR."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
    return Thumbnail(path, grey, score, (image.shape[0], image.shape[1]), damaged)


def alike(some: Sequence[Thumbnail], others: Sequence[Thumbnail]) -> NDArray[np.bool_]:
    """bool (len(some), len(others)): whether two thumbnails show the same image."""
    if not some or not others:
        return np.zeros((len(some), len(others)), np.bool_)
    a, b = (_flat(views) for views in (some, others))
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.asarray(squared <= ALIKE**2 * SIDE * SIDE, np.bool_)


def _flat(views: Sequence[Thumbnail]) -> NDArray[np.float64]:
    return np.stack([view.thumbnail.reshape(-1) for view in views]).astype(np.float64)
