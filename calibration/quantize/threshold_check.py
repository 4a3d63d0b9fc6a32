"""The int8 engine's own threshold, from the same good images, and the verdicts it makes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_ad.calibration.quantize.evaluator import Candidate, CandidateEvaluator
from edge_ad.calibration.quantize.gate import (
    AlarmComparison,
    ThresholdCounts,
    broken_by_fp32,
    count_alarms,
)
from edge_ad.calibration.thresholds.estimate import (
    Guarantee,
    best_guarantee,
    score_normal,
    threshold_for,
)
from edge_ad.dataset import readable
from edge_ad.files import sha256_of
from edge_ad.frame import Image
from edge_ad.manifest import Threshold

_log = logging.getLogger(__name__)
_BROKEN = (
    "fp32 itself rejects %d of %d normal images at its threshold, which promises a rate of %g: "
    "the images it was set from are unlike these, as those are that the net was trained on. "
    "Name other good images with --images, and set the threshold of fp32 anew."
)


@dataclass(frozen=True)
class ThresholdCheck:
    """Sets thresholds for candidates from `good` images, by one promise for all of them.

    Every precision then alarms at the same rate, whatever its scores are.
    """

    trials: CandidateEvaluator
    good: Sequence[Path]
    promise: Guarantee
    tell: Callable[[str, int, int], None] = lambda what, done, total: None

    def alarms(self, candidate: Candidate) -> AlarmComparison:
        """The candidate's verdicts on the exam beside fp32's."""
        theirs, ours = self.of(None), self.of(candidate)
        return count_alarms(
            self.trials.exam.anomalous,
            ThresholdCounts(self.trials.reference.scores, theirs.image),
            ThresholdCounts(self.trials.scores(candidate), ours.image),
            ours.false_alarm_rate,
        )

    def of(self, candidate: Candidate | None) -> Threshold:
        """The threshold of a candidate, or of fp32."""
        found = self.trials.threshold(
            candidate, lambda: self._measure(candidate).model_dump(mode="json")
        )
        return Threshold.model_validate(found)

    def _measure(self, candidate: Candidate | None) -> Threshold:
        with self.trials.engine(candidate) as engine:
            scores = score_normal(engine, self._images())
        promise = best_guarantee(len(scores.image), self.promise)
        return threshold_for(scores, promise, sha256_of(self.good))

    def _images(self) -> Iterator[tuple[str, Image]]:
        for done, (path, image) in enumerate(readable(self.good)):
            self.tell("setting the threshold", done, len(self.good))
            yield path.name, image


def warn_of_broken_promise(alarms: AlarmComparison | None, chance: float) -> None:
    """Say so where fp32 already rejects more than its threshold promises."""
    if alarms and broken_by_fp32(alarms, chance):
        _log.warning(_BROKEN, alarms.fp32_false_alarms, alarms.normal, alarms.promised)
