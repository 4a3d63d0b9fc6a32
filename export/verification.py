"""Two artefacts on the same frames: differences, order, and verdicts that flip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_ad.engine import Engine, Prediction
from edge_ad.errors import UsageError
from edge_ad.export.parity import ROUNDED_WEIGHTS, TOLERANCE, Agreement, Tolerance, compare
from edge_ad.frame import Image
from edge_ad.manifest import Manifest
from edge_ad.precision import coarser

WEIGHTS_NOTE = "weights rounded to"  # in the provenance of files whose weights were
_AT_ONCE = 16  # images through an engine together, to bound memory


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found. `flips` are None where there is no threshold to judge by.

    `far_flips` are those of scores farther from the threshold than the tolerance's `near`.
    """

    agreement: Agreement
    tolerance: Tolerance
    threshold: float | None
    flips: int | None
    far_flips: int | None

    @property
    def fault(self) -> str:
        """What is beyond its limit, in one sentence; empty when all is within."""
        if not self.agreement.within(self.tolerance):
            return (
                f"{self.agreement}. Allowed is a share of {self.tolerance.relative:g} of the "
                f"largest value: {self.tolerance.reason}."
            )
        if self.far_flips:
            return (
                f"{self.far_flips} of {self.agreement.frames} verdicts flip at the threshold "
                f"{self.threshold:.6g} though their scores are farther than "
                f"{self.tolerance.near:.0%} from it."
            )
        return ""

    def as_json(self) -> dict[str, Any]:
        return {
            **self.agreement.as_json(),
            "threshold": self.threshold,
            "verdict_flips": self.flips,
            "far_flips": self.far_flips,
            "near": self.tolerance.near,
            "tolerance": self.tolerance.relative,
            "reason": self.tolerance.reason,
            "within": not self.fault,
            "fault": self.fault,
        }


def answers(engine: Engine, frames: Image) -> Prediction:
    """All an engine answers to frames uint8 (n, H, W, 3), in arrays of our own."""
    parts = [frames[start : start + _AT_ONCE] for start in range(0, len(frames), _AT_ONCE)]
    found = [Prediction(*(side.copy() for side in engine.infer(part))) for part in parts]
    return Prediction(
        np.concatenate([one.maps for one in found]), np.concatenate([one.scores for one in found])
    )


def verify(
    reference: Prediction,
    other: Prediction,
    tolerance: Tolerance,
    threshold: float | None,
    given: int | None = None,
) -> Verification:
    """Compare two answers to the same frames, `given` of which come first, as `compare` does.

    Verdicts count on all of them. Raises GateFailed for numbers that are not finite.
    """
    flipped = far = None
    if threshold is not None:
        flips = (reference.scores > threshold) != (other.scores > threshold)
        distance = np.abs(reference.scores - threshold)
        flipped = int(flips.sum())
        far = int((flips & (distance > tolerance.near * abs(threshold))).sum())
    return Verification(compare(reference, other, given), tolerance, threshold, flipped, far)


def tolerance_between(first: Manifest, second: Manifest) -> Tolerance:
    """The tolerance of the coarser precision of two; a wider one when one has rounded weights."""
    tolerance = TOLERANCE[coarser(first.precision, second.precision)]
    if stored_in_8_bits(first) != stored_in_8_bits(second):
        return max(tolerance, ROUNDED_WEIGHTS, key=lambda item: item.relative)
    return tolerance


def stored_in_8_bits(manifest: Manifest) -> bool:
    """Whether the weights were rounded to be stored in 8 bits, in this file or one before it."""
    return manifest.provenance.notes.get(WEIGHTS_NOTE) == "int8"


def check_comparable(first: Manifest, second: Manifest, names: tuple[Path, Path]) -> None:
    """Raise UsageError unless both judge the same pixels by the same method."""
    for what, a, b in (
        ("method", first.method, second.method),
        ("size", first.size_hw, second.size_hw),
        ("score", first.score, second.score),
    ):
        if a != b:
            raise UsageError(
                f"{names[0]} and {names[1]} do not compare: {what} {a} against {b}. "
                "Name two artefacts that come from the same weights."
            )
