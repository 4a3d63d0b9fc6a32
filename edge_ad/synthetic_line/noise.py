"""Seeded textures: smooth noise, streaks, grain."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""float32 (H, W) or (H, W, 3)."""


def grain(rng: np.random.Generator, hw: tuple[int, int]) -> Field:
    """Draw white noise (H, W), mean 0, deviation 1."""
    return rng.standard_normal(hw, dtype=np.float32)


def smooth(rng: np.random.Generator, hw: tuple[int, int], period: float) -> Field:
    """Draw noise (H, W) that changes over about `period` pixels, mean 0, deviation near 1."""
    height, width = (max(2, round(side / period) + 2) for side in hw)
    coarse = rng.standard_normal((height, width), dtype=np.float32)
    return _field(cv2.resize(coarse, (hw[1], hw[0]), interpolation=cv2.INTER_CUBIC))


def streaks(
    rng: np.random.Generator, hw: tuple[int, int], length: float, width: float = 0.6
) -> Field:
    """Draw noise (H, W) stretched along x over about `length` pixels, mean 0, deviation 1."""
    field = cv2.GaussianBlur(grain(rng, hw), (0, 0), sigmaX=max(length, 0.1), sigmaY=width)
    return _field((field - field.mean()) / (field.std() + 1e-6))


def blur(field: Field, sigma: float) -> Field:
    """Apply a Gaussian blur; a sigma below 0.2 leaves the field as it is."""
    return field if sigma < 0.2 else _field(cv2.GaussianBlur(field, (0, 0), sigma))


def _field(values: object) -> Field:
    return np.asarray(values, np.float32)
