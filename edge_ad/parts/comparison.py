"""Compare two images patch by patch: do they show the same surface?

Patches of one image are looked for in the other, near where phase correlation puts them (Kuglin and
Hines, "The phase correlation image alignment method", 1975), and a similarity transform is fitted
to their places by RANSAC (Fischler and Bolles, 1981). What counts is the correlation of the patches
that agree with the transform: texture of the same part agrees, texture of another does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image
from edge_ad.parts.candidates import relief

Detail: TypeAlias = NDArray[np.uint8]
Agreement: TypeAlias = NDArray[np.float32]

DETAIL_SIDE = 192  # pixels of the longer side of a usual image
_PATCH, _REACH = 24, 8  # pixels; 8 allow a turn of 4 degrees, or a crop 8 % larger
_TOLERANCE_PX = 1.5  # of a patch's place against the transform
_FARTHEST = 0.2  # of the image's side, the largest shift
_LEAST_PATCHES = 6
_CELLS = 8  # agreement is kept on a grid of 8 x 8 cells of the image


def detail(image: Image, scale: float) -> Detail:
    """Return the fine relief of an image at `scale`, as uint8 (h, w) around 128.

    A strip so narrow that nothing of it would be left is made small by less.
    """
    return detail_of_gray(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8), scale)


def detail_of_gray(gray: NDArray[np.uint8], scale: float) -> Detail:
    """Return the fine relief of brightness uint8 (H, W), as `detail` does."""
    scale = max(scale, 2 / min(gray.shape))  # 2, since `agreement` halves it
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(gray, None, fx=scale, fy=scale, interpolation=kind), np.uint8)
    fine = cv2.GaussianBlur(relief(small, 4.0), (0, 0), 0.7)  # 0.7 px: less noise, lines stay
    return np.asarray(np.clip(fine * 32 + 128, 0, 255), np.uint8)


def agreement(first: Detail, second: Detail) -> Agreement:
    """Return the correlation of each of 8 x 8 cells of `first` with `second`, float32 (64,).

    0 where a patch contradicts the transform of the others, nan where there is no patch.
    """
    cells = np.full(_CELLS * _CELLS, np.nan, np.float32)
    found = _matches(first, second)
    if len(found.scores) < _LEAST_PATCHES:
        return cells
    cv2.setRNGSeed(0)  # RANSAC draws: the same answer every time
    _, inliers = cv2.estimateAffinePartial2D(
        found.places, found.matched, method=cv2.RANSAC,
        ransacReprojThreshold=_TOLERANCE_PX, maxIters=200,
    )  # fmt: skip
    agreed = np.zeros(len(found.scores), bool) if inliers is None else inliers[:, 0] > 0
    share = found.places / (first.shape[1], first.shape[0])
    index = (share[:, 1] * _CELLS).astype(int) * _CELLS + (share[:, 0] * _CELLS).astype(int)
    total = np.bincount(index, found.scores * agreed, len(cells))
    count = np.bincount(index, minlength=len(cells))
    np.divide(total, count, out=cells, where=count > 0, casting="unsafe")
    return cells


@dataclass(frozen=True, slots=True)
class _Matches:
    """Patch centres of one image, their places in the other, both (n, 2) x y, and correlations."""

    places: NDArray[np.float32]
    matched: NDArray[np.float32]
    scores: NDArray[np.float32]


def _matches(first: Detail, second: Detail) -> _Matches:
    shift_x, shift_y = _shift(first, second)
    rows = []
    for y in range(0, first.shape[0] - _PATCH + 1, _PATCH):
        for x in range(0, first.shape[1] - _PATCH + 1, _PATCH):
            left, top = max(0, x + shift_x - _REACH), max(0, y + shift_y - _REACH)
            window = second[top : y + shift_y + _PATCH + _REACH,
                            left : x + shift_x + _PATCH + _REACH]  # fmt: skip
            if min(window.shape) < _PATCH + _REACH // 2:
                continue
            patch = first[y : y + _PATCH, x : x + _PATCH]
            scores = cv2.matchTemplate(window, patch, cv2.TM_CCOEFF_NORMED)
            _, score, _, (at_x, at_y) = cv2.minMaxLoc(scores)
            rows.append((x, y, left + at_x, top + at_y, max(0.0, score)))
    table = np.array(rows, np.float32).reshape(-1, 5)
    return _Matches(table[:, :2] + _PATCH / 2, table[:, 2:4] + _PATCH / 2, table[:, 4])


def _shift(first: Detail, second: Detail) -> tuple[int, int]:
    """Return how far (x, y) the second image is shifted, at half resolution, by correlation."""
    small = [cv2.resize(one, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32)
             - 128 for one in (first, second)]  # fmt: skip
    height, width = (
        cv2.getOptimalDFTSize(max(one.shape[axis] for one in small)) for axis in (0, 1)
    )
    padded = [np.zeros((height, width), np.float32) for _ in small]
    for target, one in zip(padded, small, strict=True):
        target[: one.shape[0], : one.shape[1]] = one
    spectra = [cv2.dft(one) for one in padded]
    product = cv2.mulSpectrums(spectra[1], spectra[0], 0, conjB=True)
    surface = cv2.idft(product)
    surface[_far(height)], surface[:, _far(width)] = -np.inf, -np.inf
    y, x = np.unravel_index(int(surface.argmax()), surface.shape)
    return 2 * int(x - width * (x > width / 2)), 2 * int(y - height * (y > height / 2))


def _far(length: int) -> NDArray[np.bool_]:
    """Return which cyclic shifts are too large."""
    steps = np.arange(length)
    return np.minimum(steps, length - steps) > _FARTHEST * length
