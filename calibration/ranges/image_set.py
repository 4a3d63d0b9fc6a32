"""The calibration set: which images, in which order, with which synthetic anomalies."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.dataset import left_out_beside
from edge_ad.dedup import Thumbnailer
from edge_ad.errors import DataError
from edge_ad.files import sha256_of
from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.images import read_image
from edge_ad.images.listing import left_out_lines
from edge_ad.synthesis.anomalies import random_anomaly

MIN_IMAGES = 8  # ranges from fewer say nothing about a line
_log = logging.getLogger(__name__)
_thumbnail = Thumbnailer()


@dataclass(frozen=True)
class CalibrationImage:
    """One image of the set; `anomalous` if it got a synthetic anomaly."""

    path: Path
    image: Image
    anomalous: bool


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """What the dataset report needs of an image, so that it need not stay in memory.

    `thumbnail` uint8 (32, 32) grey; `score` is the fp32 engine's, `size_hw` the image's own.
    """

    path: Path
    thumbnail: NDArray[np.uint8]
    score: float
    size_hw: tuple[int, int]
    anomalous: bool = False

    @property
    def brightness(self) -> float:
        """Return the mean grey level."""
        return float(self.thumbnail.mean())

    @property
    def contrast(self) -> float:
        """Return the standard deviation of the grey levels."""
        return float(self.thumbnail.std())


@dataclass(frozen=True)
class CalibrationSet:
    """Readable images in a fixed order; `anomalous` are the positions with synthetic anomalies.

    `left_out` are unreadable ones and files beside them that are not images, with the reason.
    The same folder, samples and seed give the same images, anomalies and sha256.
    """

    paths: tuple[Path, ...]
    unreadable: tuple[Path, ...]
    anomalous: frozenset[int]
    seed: int
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[CalibrationImage]:
        return self.after(0)

    def after(self, count: int, geometry: Geometry | None = None) -> Iterator[CalibrationImage]:
        """Yield the images without the first `count`; anomalies lie where `geometry` judges."""
        for index, path in enumerate(self.paths[count:], count):
            image = read_image(path)
            if index in self.anomalous:
                rng = np.random.default_rng((self.seed, index))
                image = random_anomaly(image, rng, geometry).anomalous
            yield CalibrationImage(path, image, index in self.anomalous)

    def sha256(self) -> str:
        """Return the identity of the images' contents; the folder's name does not matter."""
        return sha256_of(self.paths)


def choose(
    paths: list[Path], *, samples: int, seed: int = 0, synthetic: float = 0.0
) -> CalibrationSet:
    """Draw `samples` images without replacement, a share `synthetic` to get synthetic anomalies.

    Unreadable images are logged and replaced by others while there are any. Raises DataError when
    fewer than 8 remain.
    """
    rng = np.random.default_rng(seed)
    shuffled = [paths[i] for i in rng.permutation(len(paths))]
    chosen: list[Path] = []
    unreadable: dict[Path, str] = {}
    for path in shuffled:
        if len(chosen) == samples:
            break
        if reason := _problem(path):
            unreadable[path] = reason
        else:
            chosen.append(path)
    for line in left_out_lines(unreadable.values()):
        _log.warning("%s", line)
    if len(chosen) < MIN_IMAGES:
        raise DataError(
            f"{paths[0].parent}: only {len(chosen)} readable images to calibrate with, expected at "
            f"least {MIN_IMAGES}. Ranges from so few would clip values of the next part; collect "
            "more with: edge-ad capture"
        )
    anomalous = rng.permutation(len(chosen))[: round(len(chosen) * synthetic)]
    return CalibrationSet(
        tuple(chosen),
        tuple(unreadable),
        frozenset(int(i) for i in anomalous),
        seed,
        left_out_beside(paths) | {str(path): reason for path, reason in unreadable.items()},
    )


def summarize(path: Path, image: Image, score: float, *, anomalous: bool = False) -> ImageSummary:
    """Summarize a uint8 (H, W, 3) BGR image."""
    grey = np.asarray(cv2.cvtColor(_thumbnail(image), cv2.COLOR_BGR2GRAY), np.uint8)
    return ImageSummary(path, grey, score, (image.shape[0], image.shape[1]), anomalous)


def _problem(path: Path) -> str:
    """Return why an image cannot be read, or an empty string."""
    try:
        read_image(path)
    except DataError as error:
        return str(error)
    return ""
