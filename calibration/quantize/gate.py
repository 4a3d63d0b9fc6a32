"""The gate: what an int8 engine may lose against fp32, in the figures that matter on a line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import comb
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.quantize.eval_set import EvalSet, Predictions
from edge_ad.evaluation.metrics import aupro, image_auroc, pixel_ap, pool_pixels


@dataclass(frozen=True)
class GateLimits:
    """The most that may be lost; `chance` is the probability below which false alarms count as more
    than bad luck."""

    image_auroc: float = 0.002
    pixel_ap: float = 0.01
    chance: float = 0.05


@dataclass(frozen=True)
class AccuracyFigures:
    """One engine on the exam; pixel figures are None without masks. AUPRO limits nothing.

    `map_error` is the rms difference of its maps from fp32's, relative to the spread of those.
    """

    image_auroc: float
    pixel_ap: float | None
    aupro: float | None
    map_error: float

    def as_json(self) -> dict[str, float | None]:
        return asdict(self)


@dataclass(frozen=True)
class AlarmComparison:
    """Verdicts on the exam's normal images at an engine's own threshold.

    `fp32_false_alarms` are those of fp32 at its own, from the same good images. `flips` counts
    images, normal and anomalous, whose verdict differs from fp32's at fp32's own.
    """

    threshold: float
    normal: int
    false_alarms: int
    fp32_false_alarms: int
    promised: float
    flips: int


class ThresholdCounts(NamedTuple):
    """Scores of the exam's images, and where the engine rejects."""

    scores: NDArray[np.float32]
    threshold: float


@dataclass(frozen=True)
class GateResult:
    """Losses against fp32 (positive is worse) and, when something is too much, which."""

    losses: dict[str, float]
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.failures

    def as_json(self) -> dict[str, Any]:
        return {"passed": self.passed, "losses": self.losses, "failures": list(self.failures)}


def figures(exam: EvalSet, reference: Predictions, found: Predictions) -> AccuracyFigures:
    """Measure an engine's answers; `reference` are fp32's to the same questions."""
    known = [(values, m) for values, m in zip(found.maps, exam.masks, strict=True) if m is not None]
    pixels = pool_pixels([values for values, _ in known], [mask for _, mask in known])
    auroc = image_auroc(found.scores.tolist(), exam.anomalous.tolist())
    assert auroc is not None, "an exam has both sides"
    return AccuracyFigures(
        image_auroc=auroc,
        pixel_ap=pixel_ap(pixels),
        aupro=aupro(pixels),
        map_error=map_error(reference.maps, found.maps),
    )


def map_error(reference: list[NDArray[np.float32]], found: list[NDArray[np.float32]]) -> float:
    """rms of the maps' difference over the rms of the reference around its mean; 0 is equal."""
    pairs = [(_kept(a), _kept(b)) for a, b in zip(reference, found, strict=True)]
    pixels = sum(a.size for a, _ in pairs)
    mean = sum(float(a.sum()) for a, _ in pairs) / pixels
    spread = sum(float(((a - mean) ** 2).sum()) for a, _ in pairs)
    error = sum(float(((a - b) ** 2).sum()) for a, b in pairs)
    return float(np.sqrt(error / spread)) if spread else float(error > 0)


def judge(
    fp32: AccuracyFigures,
    int8: AccuracyFigures,
    limits: GateLimits,
    alarms: AlarmComparison | None = None,
) -> GateResult:
    """Compare two engines' figures with the limits; without `alarms` they are not judged."""
    losses = {"image_auroc": fp32.image_auroc - int8.image_auroc}
    allowed = {"image_auroc": limits.image_auroc}
    if fp32.pixel_ap is not None and int8.pixel_ap is not None:
        losses["pixel_ap"] = fp32.pixel_ap - int8.pixel_ap
        allowed["pixel_ap"] = limits.pixel_ap
    failures = [
        f"{name} lost {losses[name]:.4f}, allowed is {limit:g}"
        for name, limit in allowed.items()
        if losses[name] > limit
    ]
    if alarms and too_many(alarms, limits.chance):
        failures.append(
            f"{alarms.false_alarms} of {alarms.normal} normal images rejected, fp32 rejects "
            f"{alarms.fp32_false_alarms}, the threshold promises a rate of {alarms.promised:g}"
        )
    return GateResult(losses, tuple(failures))


def excess(verdict: GateResult, limits: GateLimits) -> float:
    """How far beyond its limits a candidate is, in limits; the worst figure counts."""
    allowed = {"image_auroc": limits.image_auroc, "pixel_ap": limits.pixel_ap}
    return max(loss / max(allowed[name], 1e-9) for name, loss in verdict.losses.items())


def too_many(alarms: AlarmComparison, chance: float) -> bool:
    """Whether so many false alarms would come by chance with less than this probability.

    By chance at the rate that was promised, or at fp32's where that breaks the promise already:
    then the threshold's images are unlike these, and no other int8 would mend it.
    """
    n = alarms.normal
    rate = max(alarms.promised, alarms.fp32_false_alarms / max(n, 1))
    return _chance(n, alarms.false_alarms, rate) < chance


def broken_by_fp32(alarms: AlarmComparison, chance: float) -> bool:
    """Whether fp32 rejects more than its threshold promises, with less than this probability."""
    return _chance(alarms.normal, alarms.fp32_false_alarms, alarms.promised) < chance


def _chance(n: int, k: int, rate: float) -> float:
    """The probability of k or more out of n."""
    return 1 - sum(comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(k))


def count_alarms(
    anomalous: NDArray[np.bool_],
    reference: ThresholdCounts,
    found: ThresholdCounts,
    promised: float,
) -> AlarmComparison:
    """Verdicts of fp32 and int8, each at its own threshold."""
    theirs, ours = (side.scores > side.threshold for side in (reference, found))
    return AlarmComparison(
        threshold=found.threshold,
        normal=int((~anomalous).sum()),
        false_alarms=int((ours & ~anomalous).sum()),
        fp32_false_alarms=int((theirs & ~anomalous).sum()),
        promised=promised,
        flips=int((theirs != ours).sum()),
    )


def _kept(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pixels that are judged, ignored ones left out."""
    return values[np.isfinite(values)].astype(np.float64)
