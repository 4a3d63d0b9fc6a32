"""Draw parts whose looks do or do not tell them apart, as a camera takes them again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image

Light: TypeAlias = NDArray[np.float32]
_SIDE, _VIEW = 300, 200  # pixels drawn, so that a turned part fills the view, and pixels in view
_MIDDLE = (_SIDE // 2, _SIDE // 2)


@dataclass(frozen=True)
class Camera:
    """How a shot differs from the one before: `noise` in grey levels, `turn_deg` either way."""

    noise: float = 2.0
    turn_deg: float = 2.0
    jpeg_quality: int | None = None

    def shoot(self, surface: Light, rng: np.random.Generator) -> Image:
        """Take a surface (300, 300) in another place and light, uint8 (200, 200, 3)."""
        turn = cv2.getRotationMatrix2D(_MIDDLE, rng.uniform(-self.turn_deg, self.turn_deg), 1)
        turn[:, 2] = turn[:, 2] + rng.uniform(-6, 6, 2)
        moved = cv2.warpAffine(surface, turn, (_SIDE, _SIDE), borderMode=cv2.BORDER_REFLECT)
        edge = (_SIDE - _VIEW) // 2
        view = moved[edge : edge + _VIEW, edge : edge + _VIEW] * rng.uniform(0.75, 1.2)
        shaded = view * (1 + np.linspace(-0.5, 0.5, _VIEW) * rng.normal(0, 0.06))
        noisy = shaded + rng.normal(0, self.noise, shaded.shape)
        gray = noisy.round().clip(0, 255).astype(np.uint8)
        if self.jpeg_quality is not None:
            quality = [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality]
            gray = np.asarray(cv2.imdecode(cv2.imencode(".jpg", gray, quality)[1], 0), np.uint8)
        return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.uint8)


def _flat(level: int) -> Light:
    return np.full((_SIDE, _SIDE), level, np.float32)


def _texture(part: int, sigma_x: float, sigma_y: float, spread: float) -> Light:
    """Return a texture of the part alone, with mean 0."""
    white = np.random.default_rng(part).normal(0, 1, (_SIDE, _SIDE)).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(white, (0, 0), sigma_x, sigmaY=sigma_y), np.float32)
    return np.asarray(soft * (spread / soft.std()), np.float32)


def _shape(corners: int, radius: int, light: Light) -> Light:
    """Return a regular polygon of `light` before a dark ground."""
    angles = np.arange(corners) * 2 * np.pi / corners
    points = _SIDE / 2 + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    mask = np.zeros((_SIDE, _SIDE), np.uint8)
    cv2.fillPoly(mask, [points.round().astype(np.int32)], 255, cv2.LINE_AA)
    return np.asarray(50 + mask / np.float32(255) * (light - 50), np.float32)


def disc(part: int) -> Light:
    """Draw a plain disc; no part differs from another."""
    return _shape(90, 75, _flat(150))


def ring(part: int) -> Light:
    """Draw a plain ring."""
    hole = _shape(90, 40, _flat(150)) - 50
    return np.asarray(np.maximum(disc(part) - hole, 50), np.float32)


def label(part: int) -> Light:
    """Draw a label with the same print on every part."""
    ink = np.full((_SIDE, _SIDE), 190, np.uint8)
    for row in range(6):
        place = (70, 90 + 24 * row)
        cv2.putText(ink, f"LOT 42 X7 {row}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 40, 2)
    return ink.astype(np.float32)


def sheet(part: int) -> Light:
    """Draw a sheet without a grain."""
    return _flat(130)


def square(part: int) -> Light:
    """Draw a square piece with a fine texture."""
    return _shape(4, 80, 130 + _texture(part, 3, 3, 10))


def brushed(part: int) -> Light:
    """Draw a brushed sheet, which has a grain in one direction."""
    return 130 + _texture(part, 4, 1.5, 20)


def casting(part: int) -> Light:
    """Draw the rough surface of a casting."""
    return 120 + sum((_texture(part, size, size, 8) for size in (1, 3, 8)), _flat(0))


def weave(part: int) -> Light:
    """Draw cloth with threads that are not quite even."""
    across = np.arange(_SIDE, dtype=np.float32) / 1.2
    uneven, wander = _texture(part, 5, 5, 1), _texture(part + 1000, 8, 8, 1)
    threads = np.sin(across + wander) * np.sin(across[:, None] + uneven)
    return np.asarray(110 + (25 + 6 * uneven) * threads + 4 * wander, np.float32)


def wood(part: int) -> Light:
    """Draw wood, whose grain says nothing along its direction."""
    return 130 + _texture(part, 40, 1.5, 15)


_STRONG = Camera(noise=4.0, jpeg_quality=75)
_TURNED = Camera(turn_deg=180.0)
DRAWN: dict[str, tuple[Callable[[int], Light], Camera]] = {
    "disc": (disc, Camera()),
    "disc_jpeg": (disc, _STRONG),
    "ring": (ring, Camera()),
    "label": (label, Camera()),
    "sheet": (sheet, Camera()),
    "square_turned": (square, _TURNED),
    "brushed_turned": (brushed, _TURNED),
    "wood": (wood, Camera()),
    "brushed": (brushed, Camera()),
    "casting": (casting, Camera()),
    "casting_jpeg": (casting, _STRONG),
    "weave": (weave, Camera()),
}
