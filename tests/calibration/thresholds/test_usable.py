"""Scores that no threshold can come from are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.calibration.thresholds.estimate import threshold_for
from edge_ad.calibration.thresholds.guarantee import Guarantee
from edge_ad.calibration.thresholds.scores import NormalScores
from edge_ad.errors import GateFailed

Scores = NDArray[np.float64]
FIVE_PERCENT = Guarantee(0.05, 0.95)


def normal(values: Scores) -> NormalScores:
    return NormalScores([str(one) for one in range(len(values))], list(values), list(values))


def uniform(count: int = 200) -> Scores:
    return np.random.default_rng(1).random(count)


UNUSABLE: dict[str, tuple[Callable[[], Scores], str]] = {
    "all one": (lambda: np.ones(100), "all 100 normal parts score exactly 1"),
    "all zero": (lambda: np.zeros(60), "all 60 normal parts score exactly 0"),
    "clamped from above": (lambda: np.minimum(uniform(), 0.6), r"0\.6, the highest score, which"),
    "clamped below zero": (lambda: np.minimum(-uniform(), -0.2), r"-0\.2, the highest score"),
    "tied just at the top": (
        lambda: np.r_[uniform(58) / 2, 0.75, 0.75],
        "the highest score, which 2 of 60",
    ),
    "one decimal": (lambda: np.round(uniform() / 2, 1), "highest score|different scores"),
    "two values": (lambda: np.r_[np.zeros(99), 1.0], "only 2 different scores"),
    "half precision": (
        lambda: (1000 + uniform(80)).astype(np.float16).astype(np.float64),
        "highest score|different scores",
    ),
    "not a number": (lambda: np.r_[uniform(), np.nan], "NaN or Inf"),
    "infinite": (lambda: np.r_[uniform(), np.inf], "NaN or Inf"),
}


@pytest.mark.parametrize("case", list(UNUSABLE))
def test_scores_that_nothing_may_exceed_are_refused_with_the_reason(case: str) -> None:
    make, reason = UNUSABLE[case]
    with pytest.raises(GateFailed, match=reason) as refusal:
        threshold_for(normal(make()), FIVE_PERCENT)
    assert "Nothing is stored" in str(refusal.value)
    assert refusal.value.facts["distinct_scores"] == len(np.unique(make()))


@pytest.mark.parametrize("count", [1, 2, 59, 500])
def test_scores_that_all_differ_are_taken(count: int) -> None:
    values = uniform(count)
    rate = 0.96 if count < 59 else 0.05
    threshold = threshold_for(normal(values), Guarantee(rate, 0.95))
    assert (values > threshold.image).mean() <= rate
    assert threshold.parts == threshold.images == count


def test_ties_below_the_top_are_taken_since_higher_scores_occur() -> None:
    values = np.r_[uniform(300), np.full(20, 0.5)]
    assert threshold_for(normal(values), FIVE_PERCENT).image < values.max()
