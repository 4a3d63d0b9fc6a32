"""Verify one artefact against another: differences, rank order, and verdicts that flip."""

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
_BATCH = 16  # images through an engine together, to bound memory


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of `verify`; `flips` and `far_flips` are None without a threshold.

    `far_flips` are those of scores farther from the threshold than the tolerance's `near`.
    """

    agreement: Agreement
    tolerance: Tolerance
    threshold: float | None
    flips: int | None
    far_flips: int | None

    @property
    def problem(self) -> str:
        """The limit that is exceeded, in one sentence; empty when there is none."""
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
        """Return the figures, the tolerance, and whether all is within it."""
        return {
            **self.agreement.as_json(),
            "threshold": self.threshold,
            "verdict_flips": self.flips,
            "far_flips": self.far_flips,
            "near": self.tolerance.near,
            "tolerance": self.tolerance.relative,
            "reason": self.tolerance.reason,
            "within": not self.problem,
            "problem": self.problem,
        }


def predict(engine: Engine, frames: Image) -> Prediction:
    """Run frames uint8 (n, H, W, 3) through an engine in batches; the arrays are copies."""
    parts = [frames[start : start + _BATCH] for start in range(0, len(frames), _BATCH)]
    predictions = [Prediction(*(side.copy() for side in engine.infer(part))) for part in parts]
    maps, scores = zip(*predictions, strict=True)
    return Prediction(np.concatenate(maps), np.concatenate(scores))


def verify(
    reference: Prediction,
    other: Prediction,
    tolerance: Tolerance,
    threshold: float | None,
    originals: int | None = None,
) -> Verification:
    """Compare two predictions for the same frames as `compare` does, and count flipped verdicts.

    Verdicts count on all frames. Raises GateFailed for NaN or Inf.
    """
    flipped = far = None
    if threshold is not None:
        flips = (reference.scores > threshold) != (other.scores > threshold)
        distance = np.abs(reference.scores - threshold)
        flipped = int(flips.sum())
        far = int((flips & (distance > tolerance.near * abs(threshold))).sum())
    agreement = compare(reference, other, originals)
    return Verification(agreement, tolerance, threshold, flipped, far)


def tolerance_between(first: Manifest, second: Manifest) -> Tolerance:
    """Return the coarser precision's tolerance, or a wider one if one side has rounded weights."""
    tolerance = TOLERANCE[coarser(first.precision, second.precision)]
    if has_rounded_weights(first) != has_rounded_weights(second):
        return max(tolerance, ROUNDED_WEIGHTS, key=lambda item: item.relative)
    return tolerance


def has_rounded_weights(manifest: Manifest) -> bool:
    """Return whether weights were rounded to 8 bits, in this file or in one before it."""
    return manifest.provenance.notes.get(WEIGHTS_NOTE) == "int8"


def check_comparable(first: Manifest, second: Manifest, names: tuple[Path, Path]) -> None:
    """Raise UsageError unless both artefacts share method, size and score."""
    for what, a, b in (
        ("method", first.method, second.method),
        ("size", first.size_hw, second.size_hw),
        ("score", first.score, second.score),
    ):
        if a != b:
            raise UsageError(
                f"{names[0]} and {names[1]} cannot be compared: {what} {a} against {b}. "
                "Name two artefacts that come from the same weights."
            )
