"""Tiny data sets: an image of noise, a mask with a block."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 24


def image(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(20, 200, (SIDE, SIDE, 3)).astype(np.uint8)


def block(value: int = 255) -> NDArray[np.uint8]:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[8:14, 6:12] = value
    return mask


def put(root: Path, *names: str) -> None:
    """Write an image of noise under each name."""
    for name in names:
        save(root / name, image())


def mask(root: Path, *names: str, value: int = 255) -> None:
    """Write a mask with a block of `value` under each name; 0 makes it empty."""
    for name in names:
        save(root / name, block(value))


def save(path: Path, array: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix.lower(), array)  # type: ignore[arg-type]
    assert done
    path.write_bytes(bytes(data))
