"""Clopper-Pearson intervals, against scipy and by their meaning."""

from __future__ import annotations

import pytest

from edge_ad.calibration.thresholds.interval import at_least, clopper_pearson


@pytest.mark.parametrize(
    ("count", "total"), [(0, 1), (1, 1), (0, 30), (30, 30), (3, 30), (24, 24), (150, 300)]
)
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_is_that_of_scipy(count: int, total: int, confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    exact = stats.binomtest(count, total).proportion_ci(confidence, method="exact")
    assert clopper_pearson(count, total, confidence) == pytest.approx((exact.low, exact.high))


def test_the_rule_of_three() -> None:
    low, high = clopper_pearson(0, 100, 0.9)
    assert low == 0 and high == pytest.approx(1 - 0.05 ** (1 / 100))


def test_no_trial_says_nothing() -> None:
    assert clopper_pearson(0, 0) == (0, 1)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999, 1.0])
def test_binomial_tails_are_those_of_scipy(share: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    for count in (0, 1, 7, 40, 41):
        assert at_least(count, 40, share) == pytest.approx(stats.binom.sf(count - 1, 40, share))
