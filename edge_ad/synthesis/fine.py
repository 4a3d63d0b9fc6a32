"""Defects as small as a camera can show: specks, and hairline cracks down to one pixel.

Their lengths are in pixels, not shares of the tile: whether a detector sees them depends on how
fine its input and its features are, which larger anomalies cannot tell.
"""

from __future__ import annotations

import cv2
import numpy as np

from edge_ad.frame import Image
from edge_ad.synthesis.blend import Weight
from edge_ad.synthesis.foreground import foreground_mask
from edge_ad.synthesis.perlin import Mask

Random = np.random.Generator
CONTRAST = (15, 80)  # grey levels, darker twice as often as brighter
Across = tuple[float, float]  # least and greatest width, in pixels
SPECKS, SPECK_PX = (1, 4), (1.0, 4.0)  # how many, and their diameters
CRACK_PX, CRACK_STEPS, STEP_PX = (0.75, 2.0), (5, 30), 2.0  # width, number and length of steps
BEND = 0.35  # deviation of a crack's direction from step to step
FINER = 4  # times as many pixels each way when drawing
COVERED, VISIBLE = 0.25, 6  # of a pixel, and grey levels, from which the mask counts one


def add_specks(
    normal: Image, rng: Random, *, grey: bool, across: Across = SPECK_PX
) -> tuple[Image, Mask]:
    """Add specks to the part; `grey` changes nothing, since they have no hue."""
    canvas = _canvas(normal)
    for _ in range(int(rng.integers(*SPECKS))):
        centre = (FINER * _place(normal, rng)).astype(int).tolist()
        axes = np.maximum(1, FINER * rng.uniform(*across, 2) / 2).astype(int).tolist()
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, 1.0, cv2.FILLED)
    return _shaded(normal, canvas, rng)


def add_hairline(
    normal: Image, rng: Random, *, grey: bool, across: Across = CRACK_PX
) -> tuple[Image, Mask]:
    """Add a crooked crack that begins on the part; `grey` changes nothing, since it has no hue.

    It is at least five times as long as wide.
    """
    steps = int(rng.integers(*CRACK_STEPS))
    turns = rng.normal(0, BEND, steps).cumsum() + rng.uniform(0, 2 * np.pi)
    path = max(STEP_PX, across[1]) * np.stack([np.cos(turns), np.sin(turns)], axis=1).cumsum(axis=0)
    points = (FINER * (_place(normal, rng) + path)).astype(np.int32)
    canvas = _canvas(normal)
    thickness = max(1, round(FINER * rng.uniform(*across)))
    cv2.polylines(canvas, [points], isClosed=False, color=1.0, thickness=thickness)
    return _shaded(normal, canvas, rng)


def _canvas(normal: Image) -> Weight:
    return np.zeros((FINER * normal.shape[0], FINER * normal.shape[1]), np.float32)


def _place(normal: Image, rng: Random) -> Weight:
    """Return x and y of a random pixel of the part."""
    places = np.argwhere(foreground_mask(normal))
    return places[rng.integers(len(places)), ::-1].astype(np.float32)


def _shaded(normal: Image, canvas: Weight, rng: Random) -> tuple[Image, Mask]:
    """Return the tile darker or brighter under the drawing, and where that shows."""
    weight = cv2.resize(canvas, normal.shape[1::-1], interpolation=cv2.INTER_AREA)
    step = rng.uniform(*CONTRAST) * rng.choice([-1.0, 1.0], p=[2 / 3, 1 / 3])
    image = np.asarray(np.clip(normal + step * weight[..., None] + 0.5, 0, 255), np.uint8)
    changed = cv2.absdiff(normal, image).max(axis=2) > VISIBLE
    return image, np.asarray(changed & (weight >= COVERED), np.bool_)
