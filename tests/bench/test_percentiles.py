"""Percentiles by nearest rank, and the samples that can carry them."""

from __future__ import annotations

import random

import pytest

from edge_ad.bench.percentiles import (
    describe_times,
    most_above,
    nearest_rank,
    upper_bounds_ms,
    upper_rank,
)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 5), (0.9, 9), (0.91, 10), (0.99, 10), (0.01, 1)]
)
def test_a_percentile_is_a_value_of_the_sample(share: float, expected: int) -> None:
    assert nearest_rank(range(1, 11), share) == expected


def test_rounding_does_not_move_the_rank() -> None:
    assert 0.55 * 100 > 55  # in floating point
    assert nearest_rank(range(1, 101), 0.55) == 55


@pytest.mark.parametrize(
    ("share", "least"), [(0.5, 5), (0.9, 29), (0.95, 59), (0.99, 299), (0.999, 2995)]
)
def test_a_percentile_needs_a_sample_that_bounds_it(share: float, least: int) -> None:
    assert upper_rank(least - 1, share) is None
    assert upper_rank(least, share) == least


def test_too_small_samples_give_no_figure_instead_of_a_wrong_one() -> None:
    times = describe_times([0.001] * 100)
    assert (times["n"], times["p50_ms"], times["p95_ms"]) == (100, 1.0, 1.0)
    assert times["p99_ms"] is None and times["p99.9_ms"] is None
    assert describe_times([])["max_ms"] is None
    assert set(upper_bounds_ms([0.001] * 100)) == {"p50", "p90", "p95"}


@pytest.mark.parametrize("count", [1, 2, 59, 300, 5000])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_the_binomial_sum_is_exact(count: int, share: float, confidence: float) -> None:
    binom = pytest.importorskip("scipy.stats").binom
    most = most_above(count, share, confidence)
    tail = 1 - confidence
    if most is None:
        assert binom.cdf(0, count, 1 - share) > tail
    else:
        assert binom.cdf(most, count, 1 - share) <= tail
        assert binom.cdf(most + 1, count, 1 - share) > tail


def test_the_bound_holds_as_often_as_it_says() -> None:
    draw, held = random.Random(0), 0
    rank = upper_rank(100, 0.9)
    assert rank is not None
    for _ in range(4000):
        held += sorted(draw.random() for _ in range(100))[rank - 1] >= 0.9
    assert held / 4000 > 0.945
