"""Pairs of images worth comparing closely: the most similar ones of a folder.

Each image is reduced to a small grid of its relief: the logarithm of the brightness, without its
slow changes and divided by the local contrast, so that exposure and lighting drop out. The
similarity is the correlation of two grids at the best of a few shifts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image

Relief: TypeAlias = NDArray[np.float32]

_SIDE = 32  # cells of a grid's side; 24 find 1 % fewer pairs of magnetic tiles, 48 no more
_REACH = 2  # cells a part may have moved, 6 % of the image
_NEAREST = 10  # pairs an image takes part in; parts with more images are joined through others
_BY_NAME = 2  # neighbours in the order of names: images of a part are often taken in succession
_BLOCK = 1024  # images compared at once: bounds the memory at 10 000 images


def relief(gray: NDArray[np.uint8], blur_px: float) -> Relief:
    """Return brightness (H, W) as float32 free of exposure, lighting and contrast.

    Structures larger than a few `blur_px` are removed.
    """
    log = np.log(gray.astype(np.float32) + 8)  # 8 grey levels: sensor noise in the dark stays small
    fine = log - cv2.GaussianBlur(log, (0, 0), blur_px)
    contrast = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), blur_px))
    return np.asarray(fine / (contrast + 0.01), np.float32)


def grid(image: Image) -> Relief:
    """Return an image's relief on a grid of 32 x 32 cells."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = np.asarray(cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    return relief(small, _SIDE / 16)


def similar_pairs(grids: Sequence[Relief]) -> list[tuple[int, int]]:
    """Return index pairs (i, j), i < j: each image's nearest ones, and neighbours in order."""
    stack = np.stack(grids)
    stack = stack - stack.mean(0)  # what all images show says nothing about the part
    core = _core(stack)
    near = min(_NEAREST, len(stack) - 1)
    pairs = {
        (i, j) for i in range(len(stack)) for j in range(i + 1, min(i + 1 + _BY_NAME, len(stack)))
    }
    for start in range(0, len(core), _BLOCK):
        scores = _best_shift(core[start : start + _BLOCK], stack)
        rows = np.arange(len(scores))
        scores[rows, rows + start] = -np.inf
        for row, others in zip(rows, np.argpartition(-scores, near - 1, 1)[:, :near], strict=True):
            pairs |= {(min(row + start, int(j)), max(row + start, int(j))) for j in others}
    return sorted((int(i), int(j)) for i, j in pairs)


def correlations(grids: Sequence[Relief], pairs: Sequence[tuple[int, int]]) -> Relief:
    """Return the correlation of pairs of grids, without what all show, at the best shift, (n,)."""
    stack = np.stack(grids)
    stack = stack - stack.mean(0)
    first, second = np.array(pairs).T
    core = _core(stack[first])
    shifted = [(core * moved).sum(1) for moved in _shifted(stack[second])]
    return np.asarray(np.max(shifted, axis=0), np.float32)


def _best_shift(core: Relief, stack: Relief) -> Relief:
    """Return the correlation (n, N) of each core with every grid, at the best shift."""
    best = np.full((len(core), len(stack)), -1, np.float32)
    for moved in _shifted(stack):
        np.maximum(best, core @ moved.T, out=best)
    return best


def _core(stack: Relief) -> Relief:
    """Return the cells of grids (n, 32, 32) that are in view at every shift, of length 1."""
    return _unit(stack[:, _REACH:-_REACH, _REACH:-_REACH])


def _shifted(stack: Relief) -> Iterator[Relief]:
    """Yield as many cells of grids (n, 32, 32) as `_core` at each shift, of length 1."""
    span = _SIDE - 2 * _REACH
    for dy in range(2 * _REACH + 1):
        for dx in range(2 * _REACH + 1):
            yield _unit(stack[:, dy : dy + span, dx : dx + span])


def _unit(grids: Relief) -> Relief:
    flat = grids.reshape(len(grids), -1)
    return np.asarray(flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6), np.float32)
