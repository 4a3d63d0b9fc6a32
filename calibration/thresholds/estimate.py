"""Estimate thresholds from normal images alone, and refuse those that could not work.

A frame is rejected when its score lies strictly above the threshold.
"""

from __future__ import annotations

import numpy as np

from edge_ad.calibration.thresholds.guarantee import Guarantee, figures, largest_rank
from edge_ad.calibration.thresholds.scores import By, NormalScores, PartScores, Scores
from edge_ad.errors import GateFailed
from edge_ad.manifest import Threshold
from edge_ad.parts import parts_needed, rounded_up, supported_rate

_COARSE = (
    "the model clamps, rounds or saturates its scores. Nothing is stored. Remove that (a Clip, "
    "a Round, a sigmoid of large values, 8-bit or fp16 outputs) and export or import the model "
    "again."
)


def threshold_for(
    scores: NormalScores, guarantee: Guarantee, data_sha256: str = "", by: By = "part"
) -> Threshold:
    """Return the lowest thresholds that keep the guarantee, for images and for maps.

    Raises GateFailed, with what is needed and what the data supports, when none does, or when
    nothing could exceed it.
    """
    parts = scores.by(by)
    facts = figures(len(parts), guarantee)
    facts |= {"images": parts.images, "distinct_scores": parts.distinct}
    _check_varied(parts, facts)
    rank = largest_rank(len(parts), guarantee)
    if rank == 0:
        raise GateFailed(_too_few(parts, guarantee), facts)
    image = _ranked(parts.image, rank)
    _check_exceedable(parts, image, guarantee, facts)
    return Threshold(
        image=image,
        pixel=_ranked(parts.pixel, rank),
        false_alarm_rate=guarantee.rate,
        confidence=guarantee.confidence,
        by=by,
        parts=len(parts),
        images=parts.images,
        data_sha256=data_sha256,
        geometry=scores.geometry,
    )


def _check_varied(parts: PartScores, facts: dict[str, float]) -> None:
    """Refuse scores that are not numbers, or all the same."""
    if not np.isfinite([parts.image, parts.pixel]).all():
        raise GateFailed("scores of normal images contain NaN or Inf. Nothing is stored.", facts)
    if len(parts) > 1 and parts.distinct == 1:
        raise GateFailed(
            f"all {len(parts)} normal parts score exactly {parts.image[0]:g}: either the score "
            f"does not depend on the image, or {_COARSE}",
            facts,
        )


def _check_exceedable(
    parts: PartScores, threshold: float, guarantee: Guarantee, facts: dict[str, float]
) -> None:
    """Refuse a threshold at a tied maximum, and scores that take too few values."""
    count, distinct, highest = len(parts), parts.distinct, float(parts.image.max())
    tied = int((parts.image == highest).sum())
    if threshold == highest and tied > 1:
        raise GateFailed(
            f"the threshold would be {highest:g}, the highest score, which {tied} of {count} "
            f"normal parts share exactly: nothing may be able to exceed it, since {_COARSE}",
            facts,
        )
    if largest_rank(distinct, guarantee) == 0:
        raise GateFailed(
            f"{count} normal parts have only {distinct} different scores; a false-alarm rate of "
            f"{guarantee.rate:g} with confidence {guarantee.confidence:g} needs "
            f"{parts_needed(guarantee.rate, guarantee.confidence)}: {_COARSE}",
            facts,
        )


def _too_few(parts: PartScores, guarantee: Guarantee) -> str:
    rate, confidence = guarantee.rate, guarantee.confidence
    best = rounded_up(supported_rate(len(parts), confidence))
    return (
        f"{describe_count(parts)} cannot guarantee a false-alarm rate of {rate:g} with "
        f"confidence {confidence:g}: that needs {parts_needed(rate, confidence)} of them, "
        f"independent and without near-duplicates. These support {best:g} at best: collect more, "
        f"use --false-alarm-rate {best:g}, or leave the rate out."
    )


def describe_count(parts: PartScores) -> str:
    """Return like "24 normal parts (121 images)"; images alone where each is a part."""
    count, noun = len(parts), "image" if parts.images == len(parts) else "part"
    number = f"one normal {noun}" if count == 1 else f"{count} normal {noun}s"
    return number if noun == "image" else f"{number} ({parts.images} images)"


def _ranked(scores: Scores, rank: int) -> float:
    return float(np.partition(scores, len(scores) - rank)[len(scores) - rank])
