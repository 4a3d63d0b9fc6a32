"""The evaluation set of the gate: labelled images, or normal ones with synthetic anomalies."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.ranges.image_set import ImageSummary, summarize
from edge_ad.dataset import LabelledSet, Sample, read_truth, readable
from edge_ad.engine import Engine
from edge_ad.errors import DataError, naming
from edge_ad.evaluation.predictions import judgeable
from edge_ad.frame import Image
from edge_ad.images.listing import left_out_lines
from edge_ad.manifest import Manifest
from edge_ad.preprocess import Preprocess
from edge_ad.scoring import Scorer
from edge_ad.synthesis.anomalies import random_anomaly

Mask = NDArray[np.bool_]
_Item = TypeVar("_Item")
MIN_PER_SIDE = 4  # images; below, an AUROC moves in steps larger than any limit
_MAX_PIXELS = 1 << 27  # of all images together; 12 bytes each, for images, masks and two maps
_log = logging.getLogger(__name__)


class EvalSample(NamedTuple):
    """One image at the network's size; `mask` bool on the map's canvas, None if unknown."""

    path: Path
    batch: Image
    frame_hw: tuple[int, int]
    anomalous: bool
    mask: Mask | None


@dataclass(frozen=True)
class EvalSet:
    """Samples in a fixed order; `kind` says where their ground truth comes from.

    `left_out` are files that the line could not judge or whose labels are unusable, with reasons;
    `data_set` says what was recognised of a labelled folder.
    """

    kind: str
    samples: tuple[EvalSample, ...]
    manifest: Manifest
    summaries: tuple[ImageSummary, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    data_set: Mapping[str, Any] | None = None

    @property
    def anomalous(self) -> Mask:
        """Return bool (n,), true for anomalous samples."""
        return np.array([sample.anomalous for sample in self.samples], np.bool_)

    @property
    def marks_pixels(self) -> bool:
        """Return whether any mask marks a pixel of the inspected area, at the network's size."""
        pairs = ((sample.mask, sample.anomalous) for sample in self.samples)
        return any(mask is not None and bool(mask.any()) for mask, anomalous in pairs if anomalous)

    def sha256(self) -> str:
        """Return the identity of the samples' pixels, labels and masks."""
        digest = hashlib.sha256()
        for sample in self.samples:
            mask = b"" if sample.mask is None else sample.mask.tobytes()
            digest.update(repr((sample.frame_hw, sample.anomalous, len(mask))).encode())
            digest.update(sample.batch.tobytes() + mask)
        return digest.hexdigest()

    @property
    def masks(self) -> list[Mask | None]:
        """Return the ground truth of each image; None for anomalous ones without a mask."""
        return [sample.mask for sample in self.samples]


class Predictions(NamedTuple):
    """scores float32 (n,); one stitched map float32 per image, ignored pixels minus infinity."""

    scores: NDArray[np.float32]
    maps: list[NDArray[np.float32]]


def labelled_eval_set(labelled: LabelledSet, manifest: Manifest, *, limit: int) -> EvalSet:
    """Load at most `limit` labelled images, evenly picked from normal and anomalous ones.

    Raises DataError when there are fewer than 4 of either.
    """
    normal = evenly([s for s in labelled if not s.anomalous], limit // 2)
    anomalous = evenly([s for s in labelled if s.anomalous], limit - len(normal))
    chosen = (*normal, *anomalous)
    preprocess = Preprocess(manifest.size_hw, manifest.geometry)
    samples, summaries, left_out = [], [], dict(labelled.left_out)
    for sample, image in judgeable(chosen, left_out):
        samples.append(_labelled(sample, image, preprocess))
        summaries.append(summarize(sample.path, image, 0.0))
    for line in left_out_lines(left_out.values()):
        _log.warning("%s", line)
    _check_sides(samples)
    return EvalSet(
        "labelled images",
        tuple(samples),
        manifest,
        tuple(summaries),
        left_out,
        labelled.as_json(),
    )


def synthetic_eval_set(
    paths: Sequence[Path], manifest: Manifest, *, limit: int, seed: int
) -> EvalSet:
    """Load normal images, and give every second one a synthetic anomaly with a known mask."""
    preprocess = Preprocess(manifest.size_hw, manifest.geometry)
    samples = []
    for index, (path, image) in enumerate(readable(evenly(paths, limit))):
        mask = np.zeros(image.shape[:2], np.bool_)
        if index % 2:
            rng = np.random.default_rng((seed, 1, index))
            _, image, mask = random_anomaly(image, rng, manifest.geometry)
        hw = (image.shape[0], image.shape[1])
        mask = preprocess.mask(mask)
        with naming(path):
            batch = preprocess(image)
        samples.append(EvalSample(path, batch, hw, bool(index % 2), mask))
    _check_sides(samples)
    return EvalSet("normal images with synthetic anomalies", tuple(samples), manifest)


def affordable(limit: int, manifest: Manifest) -> int:
    """Return `limit`, or as many images as fit in memory when each is cut into many tiles."""
    (height, width), tiles = manifest.size_hw, manifest.geometry.tile_count
    most = max(2 * MIN_PER_SIDE, _MAX_PIXELS // (tiles * height * width))
    if most < limit:
        _log.warning(
            "the gate uses at most %d images instead of %d: each has %d tiles of %dx%d pixels",
            *(most, limit, tiles, width, height),
        )
    return min(limit, most)


def predict(
    engine: Engine, samples: Iterable[EvalSample], on_sample: Callable[[], None] = lambda: None
) -> Predictions:
    """Run the engine on all samples, scored as on the line."""
    scorer, scores, maps = Scorer(engine), [], []
    for sample in samples:
        score, values = scorer.answer(sample.batch, sample.frame_hw)
        scores.append(score)
        maps.append(values)
        on_sample()
    return Predictions(np.array(scores, np.float32), maps)


def evenly(items: Sequence[_Item], limit: int) -> list[_Item]:
    """Return at most `limit` items, evenly spread over the sequence."""
    count = min(len(items), max(limit, 0))
    return [items[i * len(items) // count] for i in range(count)]


def _labelled(sample: Sample, image: Image, preprocess: Preprocess) -> EvalSample:
    hw = (image.shape[0], image.shape[1])
    truth = read_truth(sample, hw)
    mask = None if truth is None else preprocess.mask(truth)
    with naming(sample.path):
        batch = preprocess(image)
    return EvalSample(sample.path, batch, hw, sample.anomalous, mask)


def _check_sides(samples: Sequence[EvalSample]) -> None:
    anomalous = sum(sample.anomalous for sample in samples)
    normal = len(samples) - anomalous
    if min(anomalous, normal) < MIN_PER_SIDE:
        raise DataError(
            f"the gate has {normal} normal and {anomalous} anomalous images, expected at least "
            f"{MIN_PER_SIDE} of each: with fewer a loss may be chance. Add images."
        )
