"""Alpha blending and grey conversion of tiles."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image

Weight = NDArray[np.float32]


def blend(normal: Image, texture: Image, weight: Weight) -> Image:
    """Return (1 - weight) normal + weight texture; weight float32 (H, W) in 0..1."""
    share = weight[..., None]
    return np.asarray(normal + share * (texture.astype(np.float32) - normal) + 0.5, np.uint8)


def to_grey(image: Image) -> Image:
    """Convert an image to grey with three equal channels."""
    return np.asarray(
        cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8
    )


def is_grey(tiles: Image) -> bool:
    """Return whether the channels of tiles (n, H, W, 3) differ by less than 2 of 255 on average."""
    sample = tiles[:: max(1, len(tiles) // 64)].astype(np.int16)
    return bool((sample.max(axis=-1) - sample.min(axis=-1)).mean() < 2)
