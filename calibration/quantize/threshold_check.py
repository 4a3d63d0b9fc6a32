"""Thresholds of int8 candidates, from the same normal images as fp32's, and their verdicts."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_ad.calibration.quantize.config import OnProgress, no_progress
from edge_ad.calibration.quantize.evaluator import Candidate, CandidateEvaluator
from edge_ad.calibration.quantize.gate import AlarmComparison, broken_by_fp32, count_alarms
from edge_ad.calibration.thresholds.estimate import score_normal, threshold_for
from edge_ad.calibration.thresholds.guarantee import Guarantee, best_guarantee
from edge_ad.dataset import readable
from edge_ad.files import sha256_of
from edge_ad.frame import Image
from edge_ad.manifest import Threshold

_log = logging.getLogger(__name__)
_BROKEN = (
    "fp32 itself rejects %d of %d normal images at its threshold, which guarantees a rate of %g: "
    "the images behind the threshold are unlike these, as those that the network was trained on "
    "are. Name other normal images with --images, and set fp32's threshold again."
)


@dataclass(frozen=True)
class ThresholdCheck:
    """Set the thresholds of candidates from normal images, with one guarantee for all of them.

    Every precision then alarms at the same rate, however its scores are scaled.
    """

    evaluator: CandidateEvaluator
    normal: Sequence[Path]
    guarantee: Guarantee
    on_progress: OnProgress = no_progress

    def alarms(self, candidate: Candidate) -> AlarmComparison:
        """Compare the candidate's verdicts on the evaluation set with fp32's."""
        evaluator, fp32, int8 = self.evaluator, self.threshold(None), self.threshold(candidate)
        return count_alarms(
            evaluator.eval_set.anomalous,
            evaluator.reference.scores > fp32.image,
            evaluator.scores(candidate) > int8.image,
            threshold=int8.image,
            guaranteed_rate=int8.false_alarm_rate,
        )

    def threshold(self, candidate: Candidate | None) -> Threshold:
        """Return the threshold of a candidate, or of fp32."""
        stored = self.evaluator.threshold(
            candidate, lambda: self._measure(candidate).model_dump(mode="json")
        )
        return Threshold.model_validate(stored)

    def _measure(self, candidate: Candidate | None) -> Threshold:
        with self.evaluator.engine(candidate) as engine:
            scores = score_normal(engine, self._images())
        guarantee = best_guarantee(len(scores.image), self.guarantee)
        return threshold_for(scores, guarantee, sha256_of(self.normal))

    def _images(self) -> Iterator[tuple[str, Image]]:
        for done, (path, image) in enumerate(readable(self.normal)):
            self.on_progress("setting the threshold", done, len(self.normal))
            yield path.name, image


def warn_of_broken_guarantee(alarms: AlarmComparison | None, significance: float) -> None:
    """Log a warning when fp32 already rejects more than its threshold guarantees."""
    if alarms and broken_by_fp32(alarms, significance):
        counts = (alarms.fp32_false_alarms, alarms.normal, alarms.guaranteed_rate)
        _log.warning(_BROKEN, *counts)
