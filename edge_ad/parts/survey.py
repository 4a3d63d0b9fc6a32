"""What the images of a folder are like: sizes, lighting, near-duplicates and odd ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.dedup import Deduplicator
from edge_ad.errors import DataError
from edge_ad.frame import Image
from edge_ad.frame_gate import content_fault
from edge_ad.images import read_image
from edge_ad.images.bit_depth import ReadImage

_ODD = 6.0  # deviations, by the median absolute one; a normal distribution has one in 500 million
_LEAST_IMAGES = 8  # below, no deviation is known well enough to call an image odd
_LOOKED_AT = ("brightness", "contrast", "sharpness", "width / height")
_SMALL = 256  # pixels of the longer side that contrast and sharpness are measured at


@dataclass
class Survey:
    """Facts by image, in the order of the images that can be read.

    `sizes` are (H, W); `brightness` are means in grey levels, 0..255. `duplicates` pairs an image
    with the earlier one that it repeats; `odd` and `left_out` give reasons.
    """

    sizes: dict[Path, tuple[int, int]] = field(default_factory=dict)
    brightness: dict[Path, float] = field(default_factory=dict)
    duplicates: list[tuple[Path, Path]] = field(default_factory=list)
    odd: dict[Path, str] = field(default_factory=dict)
    left_out: dict[Path, str] = field(default_factory=dict)


def survey_images(paths: Sequence[Path], read: ReadImage = read_image) -> Survey:
    """Read every image once. Unreadable, black and saturated images are left out.

    Raises DataError when none remains.
    """
    survey, distinct, firsts, rows = Survey(), Deduplicator(), list[Path](), list[list[float]]()
    for path in paths:
        try:
            image = read(path)
        except DataError as error:
            survey.left_out[path] = str(error)
            continue
        if fault := content_fault(image):
            survey.left_out[path] = f"{path}: {fault}"
            continue
        if (twin := distinct.repeats(image)) is None:
            firsts.append(path)
        else:
            survey.duplicates.append((path, firsts[twin]))
        rows.append(_statistics(image))
        survey.sizes[path] = (image.shape[0], image.shape[1])
        survey.brightness[path] = rows[-1][0]
    if not survey.sizes:
        first = next(iter(survey.left_out.values()), "there is none")
        raise DataError(f"none of the {len(paths)} images can be used. The first: {first}")
    survey.odd = _odd_ones(list(survey.sizes), np.array(rows))
    return survey


def _statistics(image: Image) -> list[float]:
    """Return brightness, contrast, sharpness and aspect; see _LOOKED_AT."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    scale = min(1.0, max(_SMALL / max(gray.shape), 1 / min(gray.shape)))  # a pixel at least
    small = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    edges = float(np.asarray(cv2.Laplacian(small, cv2.CV_32F)).std())
    return [float(gray.mean()), float(small.std()), edges, image.shape[1] / image.shape[0]]


def _odd_ones(paths: Sequence[Path], rows: NDArray[np.float64]) -> dict[Path, str]:
    """Return the images far from the others in one statistic, with which and by how much."""
    if len(paths) < _LEAST_IMAGES:
        return {}
    logs = np.log(rows + 1)  # exposure and contrast vary by factors
    middle = np.median(logs, axis=0)
    spread = 1.4826 * np.median(np.abs(logs - middle), axis=0)
    # 2 %: where most images agree exactly, as their sizes do, a change of one pixel is not odd
    scores = np.abs(logs - middle) / np.maximum(spread, 0.02)
    odd = {}
    for index in np.flatnonzero(scores.max(axis=1) > _ODD).tolist():
        what = int(scores[index].argmax())
        usual = float(np.median(rows[:, what]))
        odd[paths[index]] = f"{_LOOKED_AT[what]} {rows[index, what]:.3g}, usually {usual:.3g}"
    return odd
