"""Thresholds of int8 candidates, from the same normal images as fp32's, and their verdicts.

Both are by part, as `edge-ad threshold` does it: images of one part are not independent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.quantize.config import OnProgress, no_progress
from edge_ad.calibration.quantize.eval_set import EvalSet, evenly
from edge_ad.calibration.quantize.evaluator import Candidate, CandidateEvaluator
from edge_ad.calibration.quantize.gate import (
    AlarmComparison,
    GateLimits,
    broken_by_fp32,
    count_alarms,
)
from edge_ad.calibration.quantize.result_cache import identity
from edge_ad.calibration.thresholds.decide import refuse_other_scores
from edge_ad.calibration.thresholds.estimate import threshold_for
from edge_ad.calibration.thresholds.guarantee import Guarantee, best_guarantee
from edge_ad.calibration.thresholds.images import ImageFolder
from edge_ad.calibration.thresholds.interval import at_least
from edge_ad.calibration.thresholds.normal_input import NormalInput, open_folder
from edge_ad.calibration.thresholds.scores import (
    By,
    NormalScores,
    PartOf,
    draw_of_each,
    score_normal,
)
from edge_ad.errors import GateFailed
from edge_ad.files import file_state
from edge_ad.frame import Image
from edge_ad.manifest import Manifest, Threshold
from edge_ad.parts import How, assign_parts

_log = logging.getLogger(__name__)
_BROKEN = (
    "fp32 itself rejects %d of %d normal parts at its threshold, which guarantees a rate of %g: "
    "the images behind the threshold are unlike these. Set fp32's threshold again from images of "
    "the parts that the line sees, and name those with --images."
)
_UNLIKE = (
    "fp32 rejects %d of %d parts of --images at its stored threshold %g, which guarantees a rate "
    "of %g: they are unlike those behind it, or not all good, and int8's threshold, set from them, "
    "may let anomalies pass. Look at %s, or give images like those that fp32's threshold was set "
    "from."
)
_NO_THRESHOLD = (
    "no threshold for int8 from %s, so the gate does not count false alarms: %s Set it with: "
    "edge-ad threshold"
)
_WEAKER = (
    "int8's threshold guarantees a rate of %g, fp32's one of %g: the parts of --images that may "
    "carry a threshold, %d, support no better. Set it from more parts with: edge-ad threshold"
)


@dataclass(frozen=True)
class ThresholdImages:
    """Images of normal parts that a threshold may come from: `paths`, and the part of each name.

    `set_aside` of them were set aside for this in training. `decided_by` is what decided which show
    one part (`parts.How`).
    """

    folder: ImageFolder
    part_of: PartOf
    decided_by: str
    set_aside: int = 0

    def __iter__(self) -> Iterator[tuple[str, Image]]:
        return iter(self.folder)

    def __len__(self) -> int:
        return len(self.folder)

    def facts(self) -> list[object]:
        """Return each file with its part, size and time, which change when its content does."""
        return [
            (path, self.part_of(self.folder.name_of(path)), file_state(path))
            for path in self.folder.paths
        ]


def threshold_images(
    folder: Path, manifest: Manifest, *, limit: int, part_id: str | None, how: How | None
) -> ThresholdImages | None:
    """Choose at most `limit` images of a folder, of whole parts that were not trained on.

    Return None, and log the reason, where there is none: ranges may come from images that were
    trained on, a threshold may not.
    """
    try:
        given = open_folder(folder, manifest.data_split, manifest.geometry, part_id, how)
        refuse_other_scores(given, _int8(manifest), manifest.geometry)
    except GateFailed as error:
        _log.warning(_NO_THRESHOLD, folder, error)
        return None
    paths = _of_whole_parts(given, limit)
    count = len(paths) if given.set_aside else 0
    return ThresholdImages(ImageFolder(folder, paths), given.part_of, given.decided_by, count)


def _int8(manifest: Manifest) -> Manifest:
    return manifest.replace(precision="int8")


def _of_whole_parts(given: NormalInput, limit: int) -> list[Path]:
    """Return the images of as many parts, evenly spread, as have `limit` images; one at least."""
    assert isinstance(given.images, ImageFolder)
    groups: dict[str, list[Path]] = {}
    for path in given.paths:
        groups.setdefault(given.part_of(given.images.name_of(path)), []).append(path)
    parts = list(groups.values())
    count = max(1, len(parts) * limit // max(len(given.paths), limit))
    return [path for part in evenly(parts, count) for path in part]


@dataclass(frozen=True)
class ThresholdCheck:
    """Set the thresholds of candidates from normal images, with one guarantee for all of them.

    Every precision then alarms at the same rate, however its scores are scaled. `by` is what the
    guarantee bounds: rejected parts, or images; it is that of `stored`, fp32's stored threshold,
    where there is one. `part_of` maps a sample's path to its part; one without is a part.
    """

    evaluator: CandidateEvaluator
    normal: ThresholdImages
    guarantee: Guarantee
    by: By = "part"
    stored: Threshold | None = None
    part_of: Mapping[Path, str] = field(default_factory=dict)
    on_progress: OnProgress = no_progress

    def alarms(self, candidate: Candidate) -> AlarmComparison:
        """Compare the candidate's verdicts on the evaluation set with fp32's."""
        evaluator, fp32, int8 = self.evaluator, self.threshold(None), self.threshold(candidate)
        return count_alarms(
            self._normal_parts(),
            evaluator.reference.scores > fp32.image,
            evaluator.scores(candidate) > int8.image,
            threshold=int8.image,
            guaranteed_rate=int8.false_alarm_rate,
        )

    def warn_of_weaker_guarantee(self, candidate: Candidate) -> None:
        """Log a warning when the candidate's threshold guarantees less than was asked for."""
        threshold = self.threshold(candidate)
        rate, asked = threshold.false_alarm_rate, self.guarantee.rate
        if rate > asked:
            _log.warning(_WEAKER, rate, asked, threshold.parts)

    def threshold(self, candidate: Candidate | None) -> Threshold:
        """Return the threshold of a candidate, or of fp32."""
        stored = self.evaluator.threshold(
            candidate, self._origin, lambda: self._measure(candidate).to_dict()
        )
        return Threshold.from_dict(stored)

    @cached_property
    def _origin(self) -> str:
        """Return a digest of the guarantee, the images and their parts."""
        normal = self.normal
        kind = (self.by, normal.decided_by, normal.set_aside)
        return identity([self.guarantee, *kind, *normal.facts()])

    def _measure(self, candidate: Candidate | None) -> Threshold:
        with self.evaluator.engine(candidate) as engine:
            scores = score_normal(engine, self._images(), part_of=self.normal.part_of)
        if candidate is None:
            self._warn_of_other_parts(scores)
        guarantee = best_guarantee(scores.by(self.by).distinct, self.guarantee)
        threshold = threshold_for(scores, guarantee, self.normal.folder.sha256(), self.by)
        normal = self.normal
        return threshold.replace(decided_by=normal.decided_by, set_aside=normal.set_aside)

    def _warn_of_other_parts(self, scores: NormalScores) -> None:
        """Log a warning when fp32's stored threshold rejects more of these than it guarantees."""
        stored, parts = self.stored, scores.by(self.by)
        if stored is None or scores.geometry.differences(stored.geometry):
            return
        rejected, rate = int((parts.image > stored.image).sum()), stored.false_alarm_rate
        if at_least(rejected, len(parts), rate) < GateLimits.significance:
            highest = ", ".join(name for name, _ in scores.highest())
            _log.warning(_UNLIKE, rejected, len(parts), stored.image, rate, highest)

    def _images(self) -> Iterator[tuple[str, Image]]:
        for done, item in enumerate(self.normal):
            self.on_progress("setting the threshold", done, len(self.normal))
            yield item

    def _normal_parts(self) -> list[NDArray[np.intp]]:
        """Return the numbers of the samples that decide on each normal part."""
        groups: dict[str, list[int]] = {}
        for number, sample in enumerate(self.evaluator.eval_set.samples):
            if not sample.anomalous:
                part = self.part_of.get(sample.path, str(sample.path))
                groups.setdefault(part, []).append(number)
        every = list(groups.values())
        deciding = every if self.by == "part" else [[one] for one in draw_of_each(every)]
        return [np.array(group, np.intp) for group in deciding]


def parts_of_samples(
    eval_set: EvalSet, folder: Path | None, part_id: str | None, how: How | None
) -> dict[Path, str]:
    """Return the part of each normal sample, as `evaluate` distinguishes them."""
    assigned = assign_parts(
        [sample.path for sample in eval_set.samples if not sample.anomalous],
        part_id=part_id,
        root=folder,
        how=how,
        among=(How.TABLE, How.CAPTURE, How.NAMES, How.EACH),
        geometry=eval_set.manifest.geometry,
    )
    return assigned.parts


def warn_of_broken_guarantee(alarms: AlarmComparison | None, significance: float) -> None:
    """Log a warning when fp32 already rejects more than its threshold guarantees."""
    if alarms and broken_by_fp32(alarms, significance):
        counts = (alarms.fp32_false_alarms, alarms.normal, alarms.guaranteed_rate)
        _log.warning(_BROKEN, *counts)
