"""Predictions of a detector on a labelled data set, preprocessed as on the line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.dataset import Sample, read_truth
from edge_ad.engine import Engine
from edge_ad.errors import DataError, UsageError
from edge_ad.evaluation.disk_arrays import DiskBackedArrays
from edge_ad.frame import Frame, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.images import read_image
from edge_ad.preprocess import Map
from edge_ad.scoring import Scorer

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """A test image with its score, its stitched map and its ground truth of the same size.

    `mask` is None for an anomalous image without one; it then counts for image metrics only.
    """

    sample: Sample
    score: float
    values: Map
    mask: Mask | None

    @property
    def hidden(self) -> bool:
        """Return whether its whole defect lies outside the inspected area."""
        if self.mask is None or not self.sample.anomalous:
            return False
        return not bool((self.mask & ~np.isneginf(self.values)).any())


def score_all(
    engine: Engine,
    samples: Iterable[Sample],
    left_out: dict[str, str],
    geometry: Geometry | None = None,
) -> Iterator[ScoredImage]:
    """Yield score and map of every sample that can be scored, in order.

    `left_out` collects the others with their reasons. Maps and masks are stored on disk, so a list
    of the results of any data set fits in memory.
    """
    scorer = Scorer(engine, geometry)
    with DiskBackedArrays() as arrays:
        for sample, image in judgeable(samples, left_out):
            truth = read_truth(sample, (image.shape[0], image.shape[1]))
            yield _score(scorer, arrays, sample, image, truth)


def _score(
    scorer: Scorer,
    arrays: DiskBackedArrays,
    sample: Sample,
    image: Image,
    truth: Mask | None,
) -> ScoredImage:
    try:
        score, values = scorer(image)
    except UsageError as error:
        raise UsageError(f"{sample.path}: {error}") from error
    if truth is None:
        return ScoredImage(sample, score, arrays.put(values), None)
    return ScoredImage(sample, score, arrays.put(values), arrays.put(scorer.preprocess.mask(truth)))


def judgeable(
    samples: Iterable[Sample], left_out: dict[str, str]
) -> Iterator[tuple[Sample, Image]]:
    """Decode the images that the line could judge; `left_out` collects the others."""
    for sample in samples:
        try:
            yield sample, _read(sample.path)
        except DataError as error:
            left_out[str(sample.path)] = str(error)


def _read(path: Path) -> Image:
    """Decode an image; raises DataError too for one that the line would call INVALID."""
    image = read_image(path)
    if fault := FrameGate(live=False).fault(Frame(image, 0, 0.0, "", path.name)):
        raise DataError(f"{path}: the line would call this image INVALID ({fault}).")
    return image
