"""The calibration set: which images, in which order, with which synthetic defects."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_ad.errors import DataError
from edge_ad.files import sha256_of
from edge_ad.frame import Image
from edge_ad.images import read_image
from edge_ad.synthesis.anomalies import random_anomaly

LEAST = 8  # images; ranges from fewer say nothing about a line
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalibrationImage:
    """One image of the set as the ranges see it."""

    path: Path
    image: Image
    damaged: bool


@dataclass(frozen=True)
class ImageSet:
    """Readable images in a fixed order; `damaged` are the places that get synthetic defects.

    The same folder, samples and seed give the same images, defects and sha256.
    """

    paths: tuple[Path, ...]
    unreadable: tuple[Path, ...]
    damaged: frozenset[int]
    seed: int

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[CalibrationImage]:
        return self.after(0)

    def after(self, seen: int) -> Iterator[CalibrationImage]:
        """The images without the first `seen`."""
        for index, path in enumerate(self.paths[seen:], seen):
            image = read_image(path)
            if index in self.damaged:
                image = random_anomaly(image, np.random.default_rng((self.seed, index))).anomalous
            yield CalibrationImage(path, image, index in self.damaged)

    def sha256(self) -> str:
        """Identity of the images' contents, whatever the folder is called."""
        return sha256_of(self.paths)


def choose(paths: list[Path], *, samples: int, seed: int = 0, synthetic: float = 0.0) -> ImageSet:
    """Draw `samples` images without replacement and damage a share `synthetic` of them.

    Unreadable images are named in the log and replaced by others while there are any. Raises
    DataError when fewer than 8 remain.
    """
    rng = np.random.default_rng(seed)
    order = [paths[i] for i in rng.permutation(len(paths))]
    good: list[Path] = []
    bad: list[Path] = []
    for path in order:
        if len(good) == samples:
            break
        (good if _is_readable(path) else bad).append(path)
    if len(good) < LEAST:
        raise DataError(
            f"{paths[0].parent}: only {len(good)} readable images to calibrate with, expected at "
            f"least {LEAST}. Ranges from so few clip what the next part shows; collect more with: "
            "edge-ad capture"
        )
    picked = rng.permutation(len(good))[: round(len(good) * synthetic)]
    return ImageSet(tuple(good), tuple(bad), frozenset(int(i) for i in picked), seed)


def _is_readable(path: Path) -> bool:
    try:
        read_image(path)
    except DataError as error:
        _log.warning("left out: %s", error)
        return False
    return True
