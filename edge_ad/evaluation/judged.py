"""A detector over a labelled data set: one pass, the very pixels of the line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_ad.dataset import Sample
from edge_ad.engine import Engine
from edge_ad.errors import DataError
from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.images import read_image, read_mask
from edge_ad.inspection import rescore
from edge_ad.preprocess import Map, Preprocess


@dataclass(frozen=True, slots=True)
class Judged:
    """One test picture: its score, its stitched map, and its ground truth on the same canvas.

    `mask` is None for an anomalous picture without one; it then counts for image metrics only.
    """

    sample: Sample
    score: float
    values: Map
    mask: NDArray[np.bool_] | None


@dataclass
class Unreadable:
    """Pictures and masks that could not be read, with the reason."""

    reasons: dict[str, str] = field(default_factory=dict)


def judge_all(
    engine: Engine,
    samples: Iterable[Sample],
    left_out: Unreadable,
    geometry: Geometry | None = None,
) -> Iterator[Judged]:
    """Score and map of every readable sample, in order; the others are noted in `left_out`."""
    used = geometry or engine.manifest.geometry
    preprocess = Preprocess(engine.manifest.size_hw, used)
    for sample in samples:
        try:
            image, mask = read_image(sample.path), _mask_of(sample)
        except DataError as error:
            left_out.reasons[str(sample.path)] = str(error)
            continue
        yield _judge(engine, preprocess, sample, image, mask)


def score_and_map(engine: Engine, preprocess: Preprocess, image: Image) -> tuple[float, Map]:
    """The image score and the stitched map of one frame, ignored polygons left out of both."""
    frame_hw = (image.shape[0], image.shape[1])
    maps, scores = engine.infer(preprocess(image))
    values = preprocess.stitch(maps, frame_hw).values.copy()  # the engine reuses its arrays
    if not preprocess.geometry.ignore:
        return float(scores.max()), values
    return rescore(maps, preprocess.tile_ignored(frame_hw), engine.manifest.score), values


def _judge(
    engine: Engine, preprocess: Preprocess, sample: Sample, image: Image,
    mask: NDArray[np.bool_] | None,
) -> Judged:  # fmt: skip
    if mask is not None and mask.shape != image.shape[:2]:
        raise DataError(
            f"{sample.mask}: a mask of {mask.shape[1]}x{mask.shape[0]} for a picture of "
            f"{image.shape[1]}x{image.shape[0]}. Make it anew at the picture's size."
        )
    score, values = score_and_map(engine, preprocess, image)
    if not sample.anomalous:
        return Judged(sample, score, values, np.zeros(values.shape, np.bool_))
    return Judged(sample, score, values, None if mask is None else preprocess.mask(mask))


def _mask_of(sample: Sample) -> NDArray[np.bool_] | None:
    return None if sample.mask is None else read_mask(sample.mask)
