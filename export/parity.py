"""Compare the predictions of two artefacts, with a tolerance that has a reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.engine import Prediction
from edge_ad.errors import GateFailed
from edge_ad.precision import Precision


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The largest difference allowed, as a share of the reference's largest absolute value.

    Maps count on all frames. Scores count on the original frames only: thresholds lie near the
    scores of normal parts, which may be a hundredth of an anomalous part's.

    Verdicts may flip where the score is within the share `near` of the threshold.
    """

    relative: float
    reason: str
    near: float = 0.01  # a camera's noise moves a score as much


TOLERANCE: dict[Precision, Tolerance] = {
    "fp32": Tolerance(
        1e-4,
        "both compute in fp32 and differ in the order of sums (about 1e-6 a layer); "
        "normalisations enlarge that where features are nearly zero",
    ),
    "fp16": Tolerance(
        2e-2,
        "fp16 keeps 11 bits, so a layer rounds by 5e-4 of a value, and some thirty layers add up; "
        "one grey level of noise in the image moves maps by 0.5 to 8 %",
        near=0.02,
    ),
    "int8": Tolerance(
        0.25,
        "int8 keeps 7 bits and a sign, so a layer rounds by 4e-3 of its range and edges of regions "
        "move; how much that may cost is decided by accuracy, this limit only detects broken files",
        near=0.1,
    ),
}

ROUNDED_WEIGHTS = Tolerance(
    5e-2,
    "weights rounded to 8 bits are other weights, each off by up to 4e-3 of its channel's largest",
    near=0.05,
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Differences of two artefacts on the same frames; maps and scores in the model's raw units.

    `anomalous` of the frames are copies with a synthetic anomaly, whose scores do not count.
    `spearman` compares the order of the scores, None where all are equal.
    """

    frames: int
    anomalous: int
    max_abs_map: float
    max_abs_score: float
    mean_abs_map: float
    map_scale: float
    score_scale: float
    spearman: float | None

    def within(self, tolerance: Tolerance) -> bool:
        """Return whether maps and scores differ by no more than the tolerance allows."""
        return (
            self.max_abs_map <= tolerance.relative * self.map_scale
            and self.max_abs_score <= tolerance.relative * self.score_scale
        )

    def as_json(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)

    def __str__(self) -> str:
        copies = f" ({self.anomalous} of them with a synthetic anomaly)" if self.anomalous else ""
        return (
            f"on {self.frames} frames{copies} maps differ by at most {self.max_abs_map:.2g} "
            f"(largest value {self.map_scale:.3g}), scores by at most {self.max_abs_score:.2g} "
            f"(largest {self.score_scale:.3g})"
        )


def compare(reference: Prediction, other: Prediction, originals: int | None = None) -> Agreement:
    """Measure the differences of two predictions for the same frames.

    Scores count on the first `originals` frames, on all of them by default. Raises GateFailed when
    either prediction contains NaN or Inf.
    """
    for name, prediction in (("the reference", reference), ("the other artefact", other)):
        _check_finite(name, prediction)
    map_difference = np.abs(reference.maps - other.maps)
    scores, others = reference.scores[:originals], other.scores[:originals]
    return Agreement(
        frames=len(reference.scores),
        anomalous=len(reference.scores) - len(scores),
        max_abs_map=float(map_difference.max()),
        max_abs_score=float(np.abs(scores - others).max()),
        mean_abs_map=float(map_difference.mean()),
        map_scale=float(np.abs(reference.maps).max()),
        score_scale=float(np.abs(scores).max()),
        spearman=spearman(scores, others),
    )


def check_parity(agreement: Agreement, tolerance: Tolerance, what: str) -> None:
    """Raise GateFailed with the figures when the difference exceeds the tolerance."""
    if not agreement.within(tolerance):
        raise GateFailed(
            f"{what}: {agreement}. Allowed is a share of {tolerance.relative:g} of the largest "
            f"value, because {tolerance.reason}."
        )


def spearman(a: NDArray[np.float32], b: NDArray[np.float32]) -> float | None:
    """Return the rank correlation, ties sharing their mean rank; None if one side is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _check_finite(name: str, prediction: Prediction) -> None:
    invalid = ~np.isfinite(prediction.maps).all(axis=(1, 2)) | ~np.isfinite(prediction.scores)
    if invalid.any():
        raise GateFailed(
            f"the output of {name} is not finite (NaN or Inf) on {int(invalid.sum())} of "
            f"{len(invalid)} frames, the first being frame {int(invalid.argmax())}."
        )
