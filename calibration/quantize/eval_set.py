"""What fp32 and int8 are compared on: labelled images, or good ones of which half are damaged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.ranges.thumbnail import Thumbnail, thumbnail_of
from edge_ad.dataset import Sample, readable
from edge_ad.engine import Engine
from edge_ad.errors import DataError
from edge_ad.frame import Image
from edge_ad.images import read_mask
from edge_ad.manifest import Manifest
from edge_ad.preprocess import Preprocess
from edge_ad.scoring import Scorer
from edge_ad.synthesis.anomalies import random_anomaly

Mask = NDArray[np.bool_]
LEAST = 4  # images a side; below, an AUROC moves in steps larger than any limit
_MOST_PIXELS = 1 << 27  # of all images together; 12 bytes each, for images, masks and two maps
_log = logging.getLogger(__name__)


class EvalSample(NamedTuple):
    """One image cut to the network's size; `mask` bool on the map's canvas, None if unknown."""

    path: Path
    batch: Image
    frame_hw: tuple[int, int]
    anomalous: bool
    mask: Mask | None


@dataclass(frozen=True)
class EvalSet:
    """Questions in a fixed order; `kind` says where their truth comes from."""

    kind: str
    questions: tuple[EvalSample, ...]
    manifest: Manifest
    views: tuple[Thumbnail, ...] = ()

    @property
    def anomalous(self) -> Mask:
        return np.array([question.anomalous for question in self.questions])

    @property
    def masks(self) -> list[Mask | None]:
        """Ground truth by image; None for anomalous ones without a mask."""
        return [question.mask for question in self.questions]


class Predictions(NamedTuple):
    """scores float32 (n,); one stitched map float32 an image, ignored pixels minus infinity."""

    scores: NDArray[np.float32]
    maps: list[NDArray[np.float32]]


def labelled_eval_set(samples: Sequence[Sample], manifest: Manifest, *, limit: int) -> EvalSet:
    """At most `limit` labelled images, evenly picked from each side.

    Raises DataError when a side has fewer than 4.
    """
    normal = _evenly([s for s in samples if not s.anomalous], limit // 2)
    anomalous = _evenly([s for s in samples if s.anomalous], limit - len(normal))
    kept = {sample.path: sample for sample in (*normal, *anomalous)}
    cut = Preprocess(manifest.size_hw, manifest.geometry)
    questions, views = [], []
    for path, image in readable(kept):
        questions.append(_labelled(kept[path], image, cut))
        views.append(thumbnail_of(path, image, 0.0))
    _check_sides(questions)
    return EvalSet("labelled images", tuple(questions), manifest, tuple(views))


def synthetic_eval_set(
    paths: Sequence[Path], manifest: Manifest, *, limit: int, seed: int
) -> EvalSet:
    """Good images, every second one with a synthetic defect, whose mask is then known."""
    cut = Preprocess(manifest.size_hw, manifest.geometry)
    questions = []
    for index, (path, image) in enumerate(readable(_evenly(list(paths), limit))):
        mask = np.zeros(image.shape[:2], np.bool_)
        if index % 2:
            _, image, mask = random_anomaly(image, np.random.default_rng((seed, 1, index)))
        hw = (image.shape[0], image.shape[1])
        questions.append(EvalSample(path, cut(image), hw, bool(index % 2), cut.mask(mask)))
    _check_sides(questions)
    return EvalSet("good images with synthetic defects", tuple(questions), manifest)


def affordable(limit: int, manifest: Manifest) -> int:
    """`limit`, or as many images as fit in memory when each is cut into many tiles."""
    (height, width), tiles = manifest.size_hw, manifest.geometry.tile_count
    most = max(2 * LEAST, _MOST_PIXELS // (tiles * height * width))
    if most < limit:
        told = "at most %d images in the gate, not %d: each is %d tiles of %dx%d pixels"
        _log.warning(told, most, limit, tiles, width, height)
    return min(limit, most)


def predict(
    engine: Engine, questions: Iterable[EvalSample], seen: Callable[[], None] = lambda: None
) -> Predictions:
    """Put all questions to an engine, judged as the line judges."""
    scorer, scores, maps = Scorer(engine), [], []
    for question in questions:
        score, values = scorer.answer(question.batch, question.frame_hw)
        scores.append(score)
        maps.append(values)
        seen()
    return Predictions(np.array(scores, np.float32), maps)


def _labelled(sample: Sample, image: Image, cut: Preprocess) -> EvalSample:
    hw = (image.shape[0], image.shape[1])
    mask: Mask | None = None
    if sample.mask is not None:
        mask = cut.mask(read_mask(sample.mask))
    elif not sample.anomalous:
        mask = cut.mask(np.zeros(hw, np.bool_))
    return EvalSample(sample.path, cut(image), hw, sample.anomalous, mask)


def _check_sides(questions: Sequence[EvalSample]) -> None:
    anomalous = sum(question.anomalous for question in questions)
    normal = len(questions) - anomalous
    if min(anomalous, normal) < LEAST:
        raise DataError(
            f"the gate has {normal} normal and {anomalous} anomalous images, expected at least "
            f"{LEAST} of each: fewer cannot tell a loss from chance. Add images."
        )


def _evenly(items: list, limit: int) -> list:  # type: ignore[type-arg]
    """At most `limit` items, evenly spread over the list."""
    return [items[i] for i in _places(len(items), limit)]


def _places(count: int, limit: int) -> Iterator[int]:
    kept = min(count, max(limit, 0))
    yield from (i * count // kept for i in range(kept))
