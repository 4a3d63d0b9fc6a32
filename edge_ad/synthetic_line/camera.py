"""Camera model: the belt and rails in view, drifting light, blur and noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.synthetic_line.noise import Field, blur, grain, smooth, streaks

_BELT_BGR = np.array([0.165, 0.175, 0.150], np.float32)
_RAIL = 13.0  # frame pixels of steel rail along the upper and the lower edge
_NOISE_FIELDS, _READ_NOISE, _SHOT_NOISE = 6, 0.006, 0.018  # deviations, full scale 1


def draw_belt(rng: np.random.Generator, hw: tuple[int, int], scale: float) -> Field:
    """Draw a woven belt (H, W, 3) whose right end joins its left end."""
    width = hw[1]
    rows, columns = np.indices(hw, dtype=np.float32)
    weave_x = np.sin(columns * 2 * np.pi * round(width / (4.2 * scale)) / width)
    weave = 0.055 * weave_x * np.sin(rows * 2 * np.pi / (4.2 * scale))
    wear = 0.05 * smooth(rng, hw, 55 * scale) + 0.05 * streaks(rng, hw, 30 * scale, 0.7 * scale)
    specks = np.clip(blur(grain(rng, hw), 0.6 * scale) * scale - 1.15, 0, 1) * 0.5
    return _joined((1 + weave + wear + specks)[..., None] * _BELT_BGR, round(40 * scale))


def draw_rails(rng: np.random.Generator, hw: tuple[int, int], scale: float) -> tuple[Field, Field]:
    """Draw the two fixed rails: colour (H, W, 3) and alpha (H, W)."""
    rows = np.indices(hw, dtype=np.float32)[0] / scale
    inward = np.minimum(rows, hw[0] / scale - 1 - rows)  # distance from the nearer frame edge
    profile = (
        0.42 + 0.14 * np.exp(-(((inward - 6) / 3.0) ** 2)) - 0.2 * np.exp(-((inward - 12) ** 2))
    )
    colour = (profile + 0.018 * streaks(rng, hw, 60 * scale, 0.6 * scale))[..., None]
    alpha = np.clip((_RAIL - inward) * scale, 0, 1)
    return np.repeat(colour, 3, axis=2).astype(np.float32), alpha.astype(np.float32)


class Light:
    """Model a drifting lamp: overall level, a gradient across the frame, and the metal's sheen."""

    def __init__(self, rng: np.random.Generator, hw: tuple[int, int]) -> None:
        self._phases = rng.uniform(0, 2 * np.pi, 4)
        self._periods = rng.uniform([260, 90, 400, 310], [420, 150, 700, 520])  # frames
        rows, columns = np.indices(hw, dtype=np.float32)
        self._x, self._y = columns / hw[1] - 0.5, rows / hw[0] - 0.5
        self._vignette = 1 - 0.22 * (self._x**2 + self._y**2)

    def at(self, index: int) -> tuple[Field, Field]:
        """Return the brightness of dull and of metal surfaces at frame `index`, both (H, W, 1)."""
        slow, quick, tilt, place = np.sin(2 * np.pi * index / self._periods + self._phases)
        level = 1 + 0.055 * slow + 0.015 * quick
        dull = self._vignette * (level + 0.10 * (-self._x - self._y) + 0.05 * tilt * self._x)
        sheen = np.exp(-(((self._x + 0.6 * self._y + 0.06 * place + 0.08) / 0.30) ** 2))
        return _column(dull), _column(dull * (0.98 + 0.20 * sheen))


class Sensor:
    """Model optics and sensor: motion blur, noise that grows with brightness, 8 bits."""

    def __init__(self, rng: np.random.Generator, hw: tuple[int, int], scale: float) -> None:
        self._fields = [grain(rng, (hw[0], hw[1] * 3)) for _ in range(_NOISE_FIELDS)]
        self._hw, self._scale = hw, scale

    def expose(self, scene: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Convert a scene float32 (H, W, 3), nominally 0..1, to uint8 (H, W, 3)."""
        sharp = cv2.GaussianBlur(scene, (0, 0), 0.75 * self._scale, sigmaY=0.5 * self._scale)
        noise = self._fields[rng.integers(_NOISE_FIELDS)].reshape(*self._hw, 3)
        noise = np.roll(noise, tuple(rng.integers(0, self._hw, 2)), (0, 1))
        deviation = _READ_NOISE + _SHOT_NOISE * np.sqrt(np.clip(sharp, 0, 1))
        return np.asarray(np.clip((sharp + noise * deviation) * 255 + 0.5, 0, 255), np.uint8)


def _joined(belt: Field, seam: int) -> Field:
    """Blend the right end into the left end, so that the belt repeats without a seam."""
    fade = np.linspace(0, 1, seam, dtype=np.float32)[None, :, None]
    belt[:, -seam:] = belt[:, -seam:] * (1 - fade) + belt[:, seam - 1 :: -1] * fade
    return np.asarray(belt, np.float32)


def _column(values: Field) -> Field:
    return np.asarray(values[..., None], np.float32)
