"""CutPaste: a piece of the same image pasted elsewhere (Li et al., CVPR 2021; CL-Flow).

Lengths are given for a 256 pixel image and scale with the shorter side.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from edge_ad.frame import Image
from edge_ad.synthesis.blend import Weight

Random = np.random.Generator

ASPECT = (0.3, 3.3)
ROTATION_DEG = 45.0
JITTER = 0.2
FEATHER_PX = 3.0
SCAR_SHARE = 0.3
SCAR_WIDTH_PX, SCAR_LENGTH_PX = (2.0, 16.0), (10.0, 64.0)


class PastedPiece(NamedTuple):
    """A pasted piece on an empty canvas: image uint8 (H, W, 3), weight float32 (H, W) in 0..1."""

    image: Image
    weight: Weight


def cut_paste(normal: Image, rng: Random, area: tuple[float, float]) -> PastedPiece:
    """Cut a rectangle from a tile, jitter its colour, rotate it and paste it with soft edges.

    `area` bounds the rectangle's share of the tile; 30 % are thin scars instead.
    """
    size_hw = (normal.shape[0], normal.shape[1])
    scar = rng.random() < SCAR_SHARE
    width, height = _scar(size_hw, rng) if scar else _rectangle(size_hw, area, rng)
    piece = jitter_colour(_cut(normal, width, height, rng), rng)
    place = _placement(size_hw, piece, rng)
    alpha = _feather(piece, FEATHER_PX * min(size_hw) / 256)
    return PastedPiece(_warp(piece, place, size_hw), np.clip(_warp(alpha, place, size_hw), 0, 1))


def jitter_colour(piece: Image, rng: Random) -> Image:
    """Change brightness, contrast and saturation by up to a fifth each."""
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, 3)
    values = piece.astype(np.float32)
    grey = values.mean(axis=2, keepdims=True)
    values = grey + saturation * (values - grey)
    values = values.mean() + contrast * (values - values.mean())
    return np.asarray(np.clip(values * brightness, 0, 255), np.uint8)


def _rectangle(size_hw: tuple[int, int], area: tuple[float, float], rng: Random) -> tuple[int, int]:
    """Draw width and height in pixels, at least 2 and at most those of the tile."""
    pixels = rng.uniform(*area) * size_hw[0] * size_hw[1]
    aspect = np.exp(rng.uniform(*np.log(ASPECT)))
    return _within(np.sqrt(pixels * aspect), np.sqrt(pixels / aspect), size_hw)


def _scar(size_hw: tuple[int, int], rng: Random) -> tuple[int, int]:
    scale = min(size_hw) / 256
    width, length = (rng.uniform(*bounds) * scale for bounds in (SCAR_WIDTH_PX, SCAR_LENGTH_PX))
    return _within(width, length, size_hw)


def _within(width: float, height: float, size_hw: tuple[int, int]) -> tuple[int, int]:
    return min(max(2, round(width)), size_hw[1]), min(max(2, round(height)), size_hw[0])


def _cut(normal: Image, width: int, height: int, rng: Random) -> Image:
    top = int(rng.integers(normal.shape[0] - height + 1))
    left = int(rng.integers(normal.shape[1] - width + 1))
    return normal[top : top + height, left : left + width]


def _feather(piece: Image, rim: float) -> Weight:
    """Return weights that fall from 1 inside to 0 at the rim; a thin piece has 1 in its middle."""
    height, width = piece.shape[:2]
    down = np.minimum(np.arange(height), np.arange(height)[::-1]) + 1
    across = np.minimum(np.arange(width), np.arange(width)[::-1]) + 1
    depth = np.minimum(down[:, None], across[None, :]).astype(np.float32)
    # clipped to 1 after the rotation
    return np.asarray(depth / min(max(rim, 1.0), float(depth.max())), np.float32)


def _placement(size_hw: tuple[int, int], piece: Image, rng: Random) -> np.ndarray:
    """Return an affine map that rotates a piece about its centre and moves it to a random place."""
    middle = ((piece.shape[1] - 1) / 2, (piece.shape[0] - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, float(rng.uniform(-ROTATION_DEG, ROTATION_DEG)), 1.0)
    to = rng.uniform(0, (size_hw[1] - 1, size_hw[0] - 1))
    matrix[:, 2] += to - np.array(middle)
    return matrix


def _warp(piece: np.ndarray, matrix: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    return np.asarray(cv2.warpAffine(piece, matrix, size_hw[::-1], flags=cv2.INTER_LINEAR))
