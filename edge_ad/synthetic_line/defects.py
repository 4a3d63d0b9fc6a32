"""Defects of a plate with exact masks: scratches, dents, stains, missing print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.synthetic_line.letters import width_of
from edge_ad.synthetic_line.noise import Field, blur, smooth
from edge_ad.synthetic_line.plates import (
    BARS_XYWH,
    BOSS_RADIUS,
    BOSS_XY,
    HOLE_RADIUS,
    HOLES_XY,
    LIGHT_XY,
    LINES,
    PLATE_WH,
    Plate,
    to_canvas,
)

VISIBLE = 0.04  # of full scale: a smaller change is lost in the camera's noise
_ACROSS = (
    np.deg2rad(25),
    np.deg2rad(155),
)  # scratches along the brushing are invisible even to people
_XY = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Defect:
    """A defect to draw; `size` and `contrast` range from 0 (hard to see) to 1 (obvious)."""

    kind: str
    size: float
    contrast: float


def add_defect(
    plate: Plate, defect: Defect, rng: np.random.Generator
) -> tuple[Plate, NDArray[np.bool_]]:
    """Return the plate with one defect, and its mask, bool (H, W): where the colour changed.

    The mask includes the gaps between the letters of a missing text.
    """
    anomalous = _DRAW[defect.kind](plate, defect, rng)
    change = np.abs(anomalous.colour() - plate.colour()).max(axis=2) * plate.alpha
    mask = (change > VISIBLE).astype(np.uint8)
    if defect.kind == "missing_print":
        side = 2 * round(2 * plate.unit) + 1
        mask |= cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    return anomalous, mask.astype(np.bool_)


def _scratch(plate: Plate, defect: Defect, rng: np.random.Generator) -> Plate:
    """Draw a thin bent groove: bright bare metal with a dark edge beside it."""
    unit, length = plate.unit, 16 + 44 * defect.size
    points = _bent_line(rng, _place(rng, length / 2 + 4), length)
    stroke = np.zeros(plate.alpha.shape, np.uint8)
    corners = np.array([to_canvas(point, unit) for point in points], np.int32)
    thick = max(1, round((0.9 + 0.9 * defect.size) * unit))
    cv2.polylines(
        stroke, [corners], isClosed=False, color=255, thickness=thick, lineType=cv2.LINE_AA
    )
    groove = blur(np.asarray(stroke / np.float32(255), np.float32), 0.25 * unit)
    edge = np.roll(groove, (round(1.1 * unit), round(0.6 * unit)), (0, 1))
    strength = 0.16 + 0.30 * defect.contrast
    metal = plate.metal + ((groove - 0.8 * edge) * strength)[..., None]
    ink = plate.ink * (1 - 0.9 * groove)
    return replace(plate, metal=np.clip(metal, 0, 1.2).astype(np.float32), ink=ink)


def _dent(plate: Plate, defect: Defect, rng: np.random.Generator) -> Plate:
    """Draw a hollow: the slope away from the lamp is darker, the one facing it brighter."""
    unit, radius = plate.unit, 5 + 8 * defect.size
    dx, dy = _offsets(plate, _place(rng, radius + 4))
    stretch, angle = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
    along, across = (
        (dx * np.cos(angle) + dy * np.sin(angle)) / unit,
        (dy * np.cos(angle) - dx * np.sin(angle)) / (unit * stretch),
    )
    hollow = np.exp(-((np.hypot(along, across) / (0.62 * radius)) ** 2)).astype(np.float32)
    slope = (dx * LIGHT_XY[0] + dy * LIGHT_XY[1]) / (unit * radius) * hollow
    strength = 0.85 + 1.3 * defect.contrast
    shade = 1 - strength * slope - 0.16 * hollow
    return replace(plate, metal=np.clip(plate.metal * shade[..., None], 0, 1.2).astype(np.float32))


def _stain(plate: Plate, defect: Defect, rng: np.random.Generator) -> Plate:
    """Draw a dried drop of oil: a ragged, brownish film with a darker rim."""
    unit, radius = plate.unit, 6 + 9 * defect.size
    dx, dy = _offsets(plate, _place(rng, radius + 5))
    ragged = 1 + 0.22 * smooth(rng, plate.alpha.shape, radius * 0.7 * unit)
    far = np.hypot(dx, dy * rng.uniform(0.8, 1.3)) / (unit * radius) * ragged
    film = 1 / (1 + np.exp(np.clip((far - 0.85) * 14, -30, 30)))
    rim = np.exp(-(((far - 0.8) / 0.13) ** 2))
    strength = 0.20 + 0.30 * defect.contrast
    darkening = (strength * (0.75 * film + 0.45 * rim))[..., None] * _BROWN
    return replace(plate, metal=(plate.metal * (1 - darkening)).astype(np.float32))


def _missing_print(plate: Plate, defect: Defect, rng: np.random.Generator) -> Plate:
    """Remove the ink, or most of it, from a part of one text line or of the bar code."""
    left, top, width, height = _print_boxes()[rng.integers(len(LINES) + 1)]
    gap = width * (0.35 + 0.65 * defect.size)
    start = left + rng.uniform(0, width - gap)
    window = np.zeros(plate.ink.shape, np.uint8)
    low = to_canvas((start, top), plate.unit)
    cv2.rectangle(window, low, to_canvas((start + gap, top + height), plate.unit), 255, -1)
    bare = blur(np.asarray(window / np.float32(255), np.float32), 0.5 * plate.unit)
    return replace(plate, ink=plate.ink * (1 - (0.6 + 0.4 * defect.contrast) * bare))


_BROWN = np.array([1.15, 0.95, 0.78], np.float32)  # absorption of blue, green, red
_DRAW: dict[str, Callable[[Plate, Defect, np.random.Generator], Plate]] = {
    "scratch": _scratch,
    "dent": _dent,
    "stain": _stain,
    "missing_print": _missing_print,
}
KINDS = tuple(_DRAW)


def _print_boxes() -> list[tuple[float, float, float, float]]:
    """Return left, top, width, height of each text line and of the bar code."""
    lines = [(x, y, width_of(text, height) + 2, height + 3) for text, (x, y), height in LINES]
    return [*lines, BARS_XYWH]


def _place(rng: np.random.Generator, margin: float) -> _XY:
    """Draw a point on the plate, off the holes, `margin` from the rim where there is room."""
    half_w, half_h = (max(4.0, side / 2 - margin) for side in PLATE_WH)
    while True:
        x, y = float(rng.uniform(-half_w, half_w)), float(rng.uniform(-half_h, half_h))
        holes = min(np.hypot(x - hx, y - hy) for hx, hy in HOLES_XY) > HOLE_RADIUS + 8
        groove = abs(np.hypot(x - BOSS_XY[0], y - BOSS_XY[1]) - BOSS_RADIUS) > 3
        if holes and groove:
            return (x, y)


def _bent_line(rng: np.random.Generator, middle: _XY, length: float) -> list[_XY]:
    """Return the points of a gently bent line around `middle`."""
    angle, bend = rng.uniform(*_ACROSS), rng.uniform(-0.5, 0.5)
    steps = np.linspace(-0.5, 0.5, 13)
    along, aside = steps * length, bend * length * (steps**2 - 0.1)
    cosine, sine = np.cos(angle), np.sin(angle)
    xs = middle[0] + along * cosine - aside * sine
    ys = middle[1] + along * sine + aside * cosine
    return [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]


def _offsets(plate: Plate, place: _XY) -> tuple[Field, Field]:
    """Return the offset of every canvas pixel from `place`, along x and along y."""
    rows, columns = np.indices(plate.alpha.shape, dtype=np.float32)
    x, y = to_canvas(place, plate.unit)
    return columns - x, rows - y
