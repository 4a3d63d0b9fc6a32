"""The accuracy gate: how much an int8 engine may lose against fp32, in figures that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.quantize.eval_set import EvalSet, Predictions
from edge_ad.calibration.thresholds.interval import at_least
from edge_ad.evaluation.metrics import aupro, image_auroc, pixel_ap, pool_pixels


@dataclass(frozen=True)
class GateLimits:
    """The largest losses allowed; false alarms less probable than `significance` fail the gate.

    A `pixel_ap` of None waives that limit, for images without masks.
    """

    image_auroc: float = 0.002
    pixel_ap: float | None = 0.01
    significance: float = 0.05

    @property
    def losses(self) -> dict[str, float]:
        """Return the limits of losses by figure, without a waived one."""
        limits = {"image_auroc": self.image_auroc, "pixel_ap": self.pixel_ap}
        return {name: limit for name, limit in limits.items() if limit is not None}


@dataclass(frozen=True)
class AccuracyFigures:
    """One engine on the evaluation set; pixel figures are None without masks. AUPRO has no limit.

    `map_error` is the rms difference of its maps from fp32's, relative to the spread of those. None
    of them is known for an engine whose output contains NaN or Inf: see UNKNOWN.
    """

    image_auroc: float | None
    pixel_ap: float | None
    aupro: float | None
    map_error: float

    def as_json(self) -> dict[str, float | None]:
        """Return the figures with JSON keys; an infinite map error is None."""
        error = self.map_error if np.isfinite(self.map_error) else None
        return {**asdict(self), "map_error": error}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> AccuracyFigures:
        """Return the figures that `as_json` returned."""
        error = stored["map_error"]
        return cls(**{**stored, "map_error": np.inf if error is None else error})


UNKNOWN = AccuracyFigures(None, None, None, np.inf)  # of an output with NaN or Inf


@dataclass(frozen=True)
class AlarmComparison:
    """Verdicts on the evaluation set, each engine at its own threshold.

    Both thresholds come from the same normal images and guarantee `guaranteed_rate`. `normal` and
    the false alarms count parts: a part is rejected if any of its images is.
    `changed_verdicts` counts images, normal and anomalous, on which the two engines disagree.
    """

    threshold: float
    normal: int
    false_alarms: int
    fp32_false_alarms: int
    guaranteed_rate: float
    changed_verdicts: int


@dataclass(frozen=True)
class GateResult:
    """Figures of an engine, its losses against fp32 (positive is worse), and what is too much.

    A figure that cannot be computed has no loss, and fails the gate if there is a limit for it.
    """

    figures: AccuracyFigures
    losses: dict[str, float]
    failures: tuple[str, ...]
    alarms: AlarmComparison | None = None

    @property
    def passed(self) -> bool:
        """Return whether every loss is within its limit."""
        return not self.failures

    def as_json(self) -> dict[str, Any]:
        """Return figures, losses and verdict with JSON keys."""
        return {
            **self.figures.as_json(),
            "passed": self.passed,
            "losses": self.losses,
            "failures": list(self.failures),
        }


def apply_gate(
    fp32: AccuracyFigures,
    int8: AccuracyFigures,
    limits: GateLimits,
    alarms: AlarmComparison | None = None,
) -> GateResult:
    """Compare two engines' figures with the limits; false alarms count if `alarms` is given."""
    losses = {
        name: before - after
        for name in ("image_auroc", "pixel_ap")
        if _known(before := getattr(fp32, name)) and _known(after := getattr(int8, name))
    }
    failures = ["its output contains NaN or Inf"] * (int8 == UNKNOWN) + [
        _failure(name, losses.get(name), limit)
        for name, limit in limits.losses.items()
        if name not in losses or losses[name] > limit
    ]
    if alarms and too_many(alarms, limits.significance):
        failures.append(
            f"{alarms.false_alarms} of {alarms.normal} normal parts rejected, fp32 rejects "
            f"{alarms.fp32_false_alarms}, the threshold guarantees a rate of "
            f"{alarms.guaranteed_rate:g}"
        )
    return GateResult(int8, losses, tuple(failures), alarms)


def figures(eval_set: EvalSet, reference: Predictions, predictions: Predictions) -> AccuracyFigures:
    """Compute an engine's figures; `reference` are fp32's predictions for the same samples."""
    pairs = zip(predictions.maps, eval_set.masks, strict=True)
    known = [(values, mask) for values, mask in pairs if mask is not None]
    pixels = pool_pixels([values for values, _ in known], [mask for _, mask in known])
    auroc = image_auroc(predictions.scores.tolist(), eval_set.anomalous.tolist())
    assert auroc is not None, "an evaluation set has normal and anomalous images"
    return AccuracyFigures(
        image_auroc=auroc,
        pixel_ap=pixel_ap(pixels),
        aupro=aupro(pixels),
        map_error=map_error(reference.maps, predictions.maps),
    )


def map_error(reference: list[NDArray[np.float32]], maps: list[NDArray[np.float32]]) -> float:
    """Return the rms of the maps' difference over the rms of the reference around its mean."""
    pairs = [(_finite(a), _finite(b)) for a, b in zip(reference, maps, strict=True)]
    pixels = sum(a.size for a, _ in pairs)
    mean = sum(float(a.sum()) for a, _ in pairs) / pixels
    spread = sum(float(((a - mean) ** 2).sum()) for a, _ in pairs)
    error = sum(float(((a - b) ** 2).sum()) for a, b in pairs)
    return float(np.sqrt(error / spread)) if spread else float(error > 0)


def excess(result: GateResult, limits: GateLimits) -> float:
    """Return the worst loss as a multiple of its limit; infinite when one is not known."""
    losses = result.losses
    return max(
        losses[name] / max(limit, 1e-9) if name in losses else np.inf
        for name, limit in limits.losses.items()
    )


def too_many(alarms: AlarmComparison, significance: float) -> bool:
    """Return whether int8's false alarms are less probable than `significance` by chance alone.

    Chance means the guaranteed rate, or fp32's rate where that already exceeds it: then the images
    behind the threshold are unlike these, and no other int8 engine would fix it.
    """
    n = alarms.normal
    rate = max(alarms.guaranteed_rate, alarms.fp32_false_alarms / max(n, 1))
    return at_least(alarms.false_alarms, n, rate) < significance


def broken_by_fp32(alarms: AlarmComparison, significance: float) -> bool:
    """Return whether fp32 itself rejects significantly more than its threshold guarantees."""
    rate = alarms.guaranteed_rate
    return at_least(alarms.fp32_false_alarms, alarms.normal, rate) < significance


def count_alarms(
    normal_parts: Sequence[NDArray[np.intp]],
    fp32_rejects: NDArray[np.bool_],
    int8_rejects: NDArray[np.bool_],
    *,
    threshold: float,
    guaranteed_rate: float,
) -> AlarmComparison:
    """Compare the verdicts of fp32 and int8 on every image; `threshold` is int8's own.

    `normal_parts` are the numbers of each normal part's images.
    """
    return AlarmComparison(
        threshold=threshold,
        normal=len(normal_parts),
        false_alarms=sum(bool(int8_rejects[part].any()) for part in normal_parts),
        fp32_false_alarms=sum(bool(fp32_rejects[part].any()) for part in normal_parts),
        guaranteed_rate=guaranteed_rate,
        changed_verdicts=int((fp32_rejects != int8_rejects).sum()),
    )


def _known(figure: float | None) -> bool:
    return figure is not None and bool(np.isfinite(figure))


def _failure(name: str, loss: float | None, limit: float) -> str:
    if loss is not None:
        return f"{name} lost {loss:.4f}, allowed is {limit:g}"
    return f"{name} cannot be computed (the limit of its loss is {limit:g})"


def _finite(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the judged pixels, without the ignored ones."""
    return values[np.isfinite(values)].astype(np.float64)
