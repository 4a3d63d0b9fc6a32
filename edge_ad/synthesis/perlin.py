"""Perlin-noise masks for synthetic anomalies (DRAEM, section 3.3 and released code)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Noise = NDArray[np.float32]
STEP = 32  # the finest lattice has 2^5 cells per side; other sizes are cropped from a multiple


def perlin_mask(
    size_hw: tuple[int, int],
    rng: np.random.Generator,
    *,
    exp_max: int = 5,
    threshold: float = 0.5,
    rotate_deg: float = 90,
) -> Mask:
    """Draw a mask bool (H, W), true where rotated noise exceeds `threshold`; about 5 % are empty.

    Each axis has 2^0 to 2^`exp_max` lattice cells; noise is rotated by at most `rotate_deg`.
    """
    rows, columns = (2 ** int(exponent) for exponent in rng.integers(0, exp_max + 1, 2))
    noise = perlin_noise(size_hw, (rows, columns), rng)
    return rotate(noise, float(rng.uniform(-rotate_deg, rotate_deg)), fill=0) > threshold


def perlin_noise(
    size_hw: tuple[int, int], cells: tuple[int, int], rng: np.random.Generator
) -> Noise:
    """Draw gradient noise float32 (H, W), about -1 to 1; `cells` are rows and columns."""
    angles = rng.uniform(0, 2 * np.pi, (cells[0] + 1, cells[1] + 1)).astype(np.float32)
    (cy, u), (cx, v) = (_along(size, count) for size, count in zip(size_hw, cells, strict=True))
    down, across = np.cos(angles), np.sin(angles)

    def corner(p: int, q: int) -> Noise:
        # one axis after the other: half the time of both at once
        y, x = (axis.take(cy + p, 0).take(cx + q, 1) for axis in (down, across))
        return np.asarray(y * (u - p)[:, None] + x * (v - q)[None, :])

    fade_u, fade_v = _fade(u)[:, None], _fade(v)[None, :]
    left = corner(0, 0) + fade_u * (corner(1, 0) - corner(0, 0))
    right = corner(0, 1) + fade_u * (corner(1, 1) - corner(0, 1))
    return np.asarray(np.sqrt(2) * (left + fade_v * (right - left)), np.float32)


def rotate(image: Noise, degrees: float, *, fill: float) -> Noise:
    """Rotate an image (H, W) or (H, W, 3) about its centre, with bilinear interpolation."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    border = (fill, fill, fill)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderValue=border))


def _along(size: int, cells: int) -> tuple[NDArray[np.intp], Noise]:
    """Return the cell number and the position within the cell of each pixel along one axis."""
    padded = -(-size // STEP) * STEP
    place = np.arange(size) * (cells / padded)
    cell = place.astype(np.intp)
    return cell, (place - cell).astype(np.float32)


def _fade(t: Noise) -> Noise:
    return ((6 * t - 15) * t + 10) * t**3
