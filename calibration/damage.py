"""Synthetic defects on good pictures, in numpy: so that ranges cover what a defect excites.

Blobs cut from Perlin-like noise, filled with another texture (after Zavrtanik et al., DRAEM, ICCV
2021, section 3.3). Training has its own, richer recipe; here a defect only has to look foreign.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image

Mask = NDArray[np.bool_]
_LEAST, _MOST = 0.002, 0.15  # share of the picture a defect may cover


def damaged(image: Image, rng: np.random.Generator) -> tuple[Image, Mask]:
    """A copy of uint8 (H, W, 3) with one defect of random shape, and the defect's mask (H, W)."""
    mask = defect_mask(image.shape[:2], rng)
    opacity = rng.uniform(0.3, 1.0)
    mixed = (1 - opacity) * image + opacity * _texture(image, rng)
    return np.where(mask[:, :, None], mixed, image).round().astype(np.uint8), mask


def defect_mask(shape_hw: tuple[int, ...], rng: np.random.Generator) -> Mask:
    """bool (H, W): the peaks of smooth noise, from a speck to a seventh of the picture."""
    share = np.exp(rng.uniform(np.log(_LEAST), np.log(_MOST)))
    noise = _noise(shape_hw, 2 ** rng.integers(1, 6, 2), rng)
    return np.asarray(noise > np.quantile(noise, 1 - share), np.bool_)


def _noise(
    shape_hw: tuple[int, ...], cells: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    coarse = rng.normal(size=(cells[0] + 1, cells[1] + 1)).astype(np.float32)
    return np.asarray(
        cv2.resize(coarse, (shape_hw[1], shape_hw[0]), interpolation=cv2.INTER_CUBIC), np.float32
    )


def _texture(image: Image, rng: np.random.Generator) -> NDArray[np.float32]:
    """A foreign surface: noise around a random brightness, in the product's own colour or in grey.

    A grey product gets grey defects, since colour would make them trivially easy to see.
    """
    shape = image.shape[:2]
    contrast = rng.uniform(10, 60)
    grain = _noise(shape, 2 ** rng.integers(2, 8, 2), rng) * contrast
    tint = image.reshape(-1, 3).mean(axis=0) - image.mean()
    surface = rng.uniform(0, 255) + grain[:, :, None] + tint * rng.uniform(0, 2)
    return np.asarray(surface.clip(0, 255), np.float32)
