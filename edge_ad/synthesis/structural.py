"""Structural defects as on real parts: scratches, spots, stains, frayed and displaced areas."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image
from edge_ad.synthesis.blend import Weight, blend, to_grey
from edge_ad.synthesis.perlin import Mask
from edge_ad.synthesis.textures import octaves

Random = np.random.Generator


def add_structural_defect(normal: Image, rng: Random, *, grey: bool) -> tuple[Image, Mask]:
    """Add one kind of structural defect to a tile; return the image and the mask."""
    draw = STRUCTURAL_DEFECTS[list(STRUCTURAL_DEFECTS)[int(rng.integers(len(STRUCTURAL_DEFECTS)))]]
    weight, image = draw(normal, rng)
    if grey:
        image = to_grey(image)
    mask = cv2.dilate((weight > 0.25).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return blend(normal, image, weight), mask


def _scratch(normal: Image, rng: Random) -> tuple[Weight, Image]:
    """Draw thin curved lines, darker or brighter than the surface."""
    size, wide = normal.shape[:2]
    weight = np.zeros((size, wide), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        steps = rng.normal(0, 0.25, 12).cumsum() + rng.uniform(0, 2 * np.pi)
        stride = rng.uniform(0.01, 0.07) * size
        path = rng.uniform(0, (wide, size)) + np.cumsum(
            np.stack([np.cos(steps), np.sin(steps)], 1) * stride, axis=0
        )
        thickness = max(1, round(rng.uniform(0.005, 0.025) * size))
        points = np.round(path * 8).astype(np.int32)
        cv2.polylines(
            weight,
            [points],
            isClosed=False,
            color=1.0,
            thickness=thickness,
            lineType=cv2.LINE_AA,
            shift=3,
        )
    return _soft(weight, rng.uniform(0.4, 1.0)), _change_brightness(normal, rng)


def _spots(normal: Image, rng: Random) -> tuple[Weight, Image]:
    """Draw small round or oval holes and specks."""
    height, width = normal.shape[:2]
    weight = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        axes = tuple(int(axis) for axis in np.ceil(rng.uniform(0.008, 0.05, 2) * height))
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.ellipse(weight, centre, axes, rng.uniform(0, 180), 0, 360, 1.0, -1, cv2.LINE_AA)
    return _soft(weight, rng.uniform(0.4, 1.5)), _change_brightness(normal, rng)


def _stain(normal: Image, rng: Random) -> tuple[Weight, Image]:
    """Draw a soft-edged area of another brightness."""
    return _soft(_area(normal, rng), rng.uniform(0.5, 4)), _change_brightness(normal, rng)


def _frayed(normal: Image, rng: Random) -> tuple[Weight, Image]:
    """Draw an area of rough, grainy surface."""
    size_hw = (normal.shape[0], normal.shape[1])
    grain = octaves(size_hw, rng, first=int(rng.integers(12, 49))) - 0.5
    rough = normal + grain[..., None] * rng.uniform(60, 220) + rng.uniform(-40, 40)
    return _soft(_area(normal, rng), rng.uniform(0.5, 2)), _as_image(rough)


def _displaced(normal: Image, rng: Random) -> tuple[Weight, Image]:
    """Draw an area copied from another place of the part, flipped, with changed brightness."""
    size = np.array(normal.shape[:2])
    least = np.minimum(8, size // 3)
    moved = np.roll(normal, tuple(rng.integers(least, size - least)), axis=(0, 1))
    moved = np.ascontiguousarray(moved[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])])
    return _soft(_area(normal, rng), rng.uniform(0.3, 1)), _as_image(
        moved * rng.uniform(0.6, 1.4) + rng.uniform(-30, 30)
    )


STRUCTURAL_DEFECTS: dict[str, Callable[[Image, Random], tuple[Weight, Image]]] = {
    "scratch": _scratch,
    "spots": _spots,
    "stain": _stain,
    "frayed": _frayed,
    "displaced": _displaced,
}


def _area(normal: Image, rng: Random) -> Weight:
    """Draw an ellipse with a ragged rim, 1 to 15 % of the tile."""
    height, width = normal.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    (cy, cx), angle = rng.uniform(0, 1, 2) * (height, width), rng.uniform(0, np.pi)
    long, short = np.sqrt(height * width) * rng.uniform(0.06, 0.25, 2)
    along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    radius = np.hypot(along / long, across / short)
    ragged = radius + 0.8 * (octaves((height, width), rng, first=5) - 0.5)
    return np.asarray(ragged < 1, np.float32)


def _change_brightness(normal: Image, rng: Random) -> Image:
    """Return the tile visibly darker or brighter."""
    step = rng.uniform(15, 110) * rng.choice([-1.0, 1.0], p=[0.65, 0.35])
    return _as_image(normal.astype(np.float32) * rng.uniform(0.3, 1.0) + step + 20)


def _soft(weight: Weight, sigma: float) -> Weight:
    return np.asarray(cv2.GaussianBlur(weight, (0, 0), sigma), np.float32)


def _as_image(values: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(values, 0, 255), np.uint8)
