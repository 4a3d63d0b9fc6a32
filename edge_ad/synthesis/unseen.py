"""Kinds of synthetic anomalies that no training uses: they show what a detector never learnt."""

from __future__ import annotations

import cv2
import numpy as np

from edge_ad.frame import Image
from edge_ad.synthesis.perlin import Mask

Random = np.random.Generator
VISIBLE = 6  # grey levels; a smaller change is no anomaly
LEAST_PX = 14  # OpenCV's blending takes three pixels off each side


def add_seamless_patch(normal: Image, rng: Random, *, grey: bool) -> tuple[Image, Mask]:
    """Blend a patch of the tile, resized and of other contrast, into another place by gradients.

    After NSA (Schlüter et al., ECCV 2022): Poisson blending leaves no edge, so only what the patch
    shows differs from what belongs there. `grey` changes nothing: the patch has the tile's colours.
    """
    height, width = normal.shape[:2]
    sides = np.clip(rng.uniform(0.1, 0.3, 2) * (height, width), LEAST_PX, (height - 4, width - 4))
    high, wide = (int(side) for side in sides)
    top, left = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
    patch = normal[top : top + high, left : left + wide][:: rng.choice([-1, 1])]
    factor = rng.uniform(0.7, 1.3)
    size = np.clip(factor * sides[::-1], LEAST_PX, (width - 4, height - 4)).astype(int).tolist()
    values = cv2.resize(patch.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    values = values.mean() + (values - values.mean()) * rng.uniform(0.6, 1.8)
    half = (size[0] // 2, size[1] // 2)
    shape = np.zeros((size[1], size[0]), np.uint8)
    cv2.ellipse(shape, half, (half[0] - 1, half[1] - 1), 0, 0, 360, 255, -1)
    x = int(rng.integers(half[0] + 1, width - half[0]))
    y = int(rng.integers(half[1] + 1, height - half[1]))
    mode = cv2.NORMAL_CLONE if rng.random() < 0.5 else cv2.MIXED_CLONE
    clipped = np.asarray(np.clip(values, 0, 255), np.uint8)
    image = np.asarray(cv2.seamlessClone(clipped, normal, shape, (x, y), mode), np.uint8)
    return image, _changed(normal, image)


def add_light_spot(normal: Image, rng: Random, *, grey: bool) -> tuple[Image, Mask]:
    """Brighten or darken an oval area with a soft rim, as a gleam, a dull or a polished area does.

    `grey` changes nothing: all channels are scaled alike.
    """
    height, width = normal.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    centre, angle = rng.uniform(0.1, 0.9, 2) * (height, width), rng.uniform(0, np.pi)
    long, short = np.sqrt(height * width) * rng.uniform(0.03, 0.15, 2)
    along = (x - centre[1]) * np.cos(angle) + (y - centre[0]) * np.sin(angle)
    across = (y - centre[0]) * np.cos(angle) - (x - centre[1]) * np.sin(angle)
    weight = np.exp(-0.5 * ((along / long) ** 2 + (across / short) ** 2))
    gain = rng.uniform(1.25, 1.8) if rng.random() < 0.5 else rng.uniform(0.4, 0.75)
    changed = normal * (1 + (gain - 1) * weight[..., None])
    image = np.asarray(np.clip(changed + 0.5, 0, 255), np.uint8)
    return image, _changed(normal, image) & (weight > 0.25)


def _changed(normal: Image, image: Image) -> Mask:
    """Return where any channel changed visibly."""
    return np.asarray(cv2.absdiff(normal, image).max(axis=2) > VISIBLE, np.bool_)
