"""Decide on a threshold: the guarantee, the assumptions it rests on, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from edge_ad.calibration.thresholds.anomalies import AnomalyScores, check_escapes
from edge_ad.calibration.thresholds.drift import check_drift, check_independence, with_brightness
from edge_ad.calibration.thresholds.estimate import threshold_for
from edge_ad.calibration.thresholds.guarantee import Guarantee, best_guarantee
from edge_ad.calibration.thresholds.normal_input import NormalInput
from edge_ad.calibration.thresholds.scores import By, NormalScores
from edge_ad.errors import GateFailed
from edge_ad.geometry import Geometry
from edge_ad.manifest import Drift, Manifest, Threshold


@dataclass(frozen=True)
class Request:
    """What the user asks for; `at_best` takes the nearest rate that the parts support."""

    guarantee: Guarantee
    by: By = "part"
    at_best: bool = False
    allow_drift: bool = False


def decide(
    request: Request, given: NormalInput, scores: NormalScores, anomalies: AnomalyScores
) -> Threshold:
    """Return the threshold. Raises GateFailed when there is none that can be relied on."""
    parts = scores.by(request.by)
    guarantee = request.guarantee
    if request.at_best:
        guarantee = best_guarantee(parts.distinct, guarantee)
    try:
        threshold = threshold_for(scores, guarantee, given.images.sha256(), request.by)
    except GateFailed as error:
        if not given.doubt:
            raise
        raise GateFailed(f"{error} Note: {given.doubt}", error.facts) from error
    if given.frames_of_unknown_parts:
        check_independence(parts.image)
    threshold = threshold.replace(
        decided_by=given.decided_by,
        set_aside=given.set_aside,
        folds=given.fitted.folds if given.fitted else 0,
        frames_per_part=given.frames_per_part,
        drift=_drift(request, given, scores),
        reference=scores.reference(),
    )
    return check_escapes(threshold, anomalies, scores)


def refuse_other_scores(given: NormalInput, manifest: Manifest, geometry: Geometry) -> None:
    """Raise GateFailed where cross-fitted scores are not those of this engine.

    They are of nets in floating point that judged with the training's geometry.
    """
    if given.fitted is None:
        return
    if manifest.precision == "int8" or geometry.differences(manifest.geometry):
        why = "int8" if manifest.precision == "int8" else "another geometry than the training's"
        raise GateFailed(
            "the detector was trained on these images; their scores by nets that were not are in "
            f"floating point with the training's geometry, and the engine has {why}. Nothing is "
            "stored. Give images of parts that it was not trained on."
        )


def _drift(request: Request, given: NormalInput, scores: NormalScores) -> Drift | None:
    if not given.ordered_by:
        return None
    over_time = given.scores_over_time(scores)
    drift = check_drift(over_time, given.ordered_by, allowed=request.allow_drift)
    return with_brightness(drift, given.brightness_over_time(scores))
