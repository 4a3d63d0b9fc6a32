"""Plates of the line: brushed aluminium with a turned boss, two holes and a print."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge_ad.synthetic_line.letters import draw_text
from edge_ad.synthetic_line.noise import Field, blur, smooth, streaks

PLATE_WH = (150.0, 106.0)
CANVAS_WH = (170.0, 126.0)  # the plate, with room for its corners when it is rotated
BOSS_XY, BOSS_RADIUS = (45.0, 4.0), 23.0
HOLES_XY, HOLE_RADIUS = ((-62.0, -40.0), (-62.0, 40.0)), 5.5
INK_BGR = np.array([0.16, 0.10, 0.09], np.float32)
LIGHT_XY = (-0.55, -0.83)  # the lamp stands beyond the upper left corner
LINES = (  # text, upper left corner from the plate's centre, height of the letters
    ("EDGE-AD", (-60.0, -30.0), 13.0),
    ("P/N 20417-B", (-60.0, -9.0), 8.0),
    ("24V 1.5A", (-60.0, 5.0), 8.0),
)
BARS_XYWH = (-48.0, 22.0, 58.0, 15.0)


@dataclass(frozen=True, slots=True)
class Plate:
    """An unlit plate: metal (H, W, 3), ink and alpha (H, W), all 0..1.

    `unit` counts canvas pixels per frame pixel.
    """

    metal: Field
    ink: Field
    alpha: Field
    unit: float

    def colour(self) -> Field:
        """Return the metal with its print, float32 (H, W, 3), 0..1."""
        ink = self.ink[..., None]
        return np.asarray(self.metal * (1 - ink) + INK_BGR * ink, np.float32)


def draw_plate(rng: np.random.Generator, unit: float) -> Plate:
    """Draw a normal plate; `rng` varies its brushing, tint and strength of print."""
    alpha = _outline(unit)
    metal = _brushed(rng, unit)
    _turn_boss(rng, metal, unit)
    metal *= (1 + _bevel(alpha, unit))[..., None]
    ink = _print(unit) * np.float32(rng.uniform(0.84, 0.92))
    return Plate(np.clip(metal, 0, 1.2), ink, alpha, unit)


def to_canvas(xy: tuple[float, float], unit: float) -> tuple[int, int]:
    """Convert plate coordinates (from the centre, frame pixels) to canvas pixels."""
    x, y = xy
    return (round((x + CANVAS_WH[0] / 2) * unit), round((y + CANVAS_WH[1] / 2) * unit))


def canvas_hw(unit: float) -> tuple[int, int]:
    """Return height and width of a plate's canvas."""
    return (round(CANVAS_WH[1] * unit), round(CANVAS_WH[0] * unit))


def _outline(unit: float) -> Field:
    """Draw the alpha 0..1 of a plate: rounded corners and two holes."""
    shape = np.zeros(canvas_hw(unit), np.uint8)
    half_w, half_h, corner = PLATE_WH[0] / 2, PLATE_WH[1] / 2, 9.0
    for inset_x, inset_y in ((corner, 0.0), (0.0, corner)):
        low = to_canvas((inset_x - half_w, inset_y - half_h), unit)
        high = to_canvas((half_w - inset_x, half_h - inset_y), unit)
        cv2.rectangle(shape, low, high, 255, -1)
    for x in (corner - half_w, half_w - corner):
        for y in (corner - half_h, half_h - corner):
            cv2.circle(shape, to_canvas((x, y), unit), round(corner * unit), 255, -1, cv2.LINE_AA)
    for hole in HOLES_XY:
        cv2.circle(shape, to_canvas(hole, unit), round(HOLE_RADIUS * unit), 0, -1, cv2.LINE_AA)
    return blur(np.asarray(shape / np.float32(255), np.float32), 0.3 * unit)


def _brushed(rng: np.random.Generator, unit: float) -> Field:
    """Draw aluminium brushed along x, (H, W, 3)."""
    hw = canvas_hw(unit)
    shade = 0.60 * (1 + rng.normal(0, 0.015))
    tint = np.array([1.0, 0.995, 0.985], np.float32) * (1 + rng.normal(0, 0.006, 3))
    lines = 0.030 * streaks(rng, hw, 22 * unit, 0.55 * unit)
    lines += 0.018 * streaks(rng, hw, 5 * unit, 0.4 * unit)
    lines += 0.012 * smooth(rng, hw, 40 * unit)
    return np.asarray((shade + lines)[..., None] * tint, np.float32)


def _turn_boss(rng: np.random.Generator, metal: Field, unit: float) -> None:
    """Replace a disc by a turned surface: rings, and the two bright fans that rings reflect."""
    rows, columns = np.indices(metal.shape[:2], dtype=np.float32)
    centre = to_canvas(BOSS_XY, unit)
    dx, dy = columns - centre[0], rows - centre[1]
    radius = np.hypot(dx, dy) / unit
    profile = rng.normal(0, 1, round(BOSS_RADIUS * 6) + 8).astype(np.float32)
    rings = np.interp(radius, np.arange(len(profile)) / 6, profile)
    fans = np.cos(2 * (np.arctan2(dy, dx) - np.arctan2(LIGHT_XY[1], LIGHT_XY[0]) - np.pi / 2))
    turned = 0.58 + 0.10 * fans + 0.022 * rings
    groove = np.exp(-(((radius - BOSS_RADIUS) / 1.1) ** 2)) * 0.30
    groove += np.exp(-(((radius - 7.0) / 0.9) ** 2)) * 0.24
    inside = np.clip((BOSS_RADIUS - radius) * unit + 0.5, 0, 1)[..., None]
    metal[:] = metal * (1 - inside) + turned[..., None] * inside
    metal *= (1 - groove)[..., None]


def _bevel(alpha: Field, unit: float) -> Field:
    """Return the relative brightness of rims: bright towards the lamp, dark away from it."""
    soft = blur(alpha, 1.3 * unit)
    across = cv2.Sobel(soft, cv2.CV_32F, 1, 0) * LIGHT_XY[0]
    down = cv2.Sobel(soft, cv2.CV_32F, 0, 1) * LIGHT_XY[1]
    return np.asarray(np.clip(-(across + down) * unit * 0.45, -0.45, 0.4), np.float32)


def _print(unit: float) -> Field:
    """Draw the ink, 0..1: three lines of text and a bar code."""
    ink = np.zeros(canvas_hw(unit), np.float32)
    for text, place, height in LINES:
        letters = draw_text(text, height * unit)
        column, row = to_canvas(place, unit)
        ink[row : row + letters.shape[0], column : column + letters.shape[1]] = letters
    _draw_bars(ink, unit)
    return blur(ink, 0.25 * unit)


def _draw_bars(ink: Field, unit: float) -> None:
    """Draw the bar code, the same on every plate."""
    x, y, width, height = BARS_XYWH
    widths = np.random.default_rng(7).choice([1.5, 1.5, 3.0], 60)
    edges = np.concatenate([[0.0], np.cumsum(widths)])
    edges = edges[edges <= width]
    for left, right in zip(edges[:-1:2], edges[1::2], strict=False):
        low, high = to_canvas((x + left, y), unit), to_canvas((x + right, y + height), unit)
        ink[low[1] : high[1], low[0] : high[0]] = 1
