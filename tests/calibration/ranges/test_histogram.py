"""Histograms and range methods, compared with numpy on all values in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edge_ad.calibration.ranges.histogram import SIDE, Histogram
from edge_ad.calibration.ranges.methods import (
    METHODS,
    amax_by_method,
    entropy,
    methods_named,
    mse,
)
from edge_ad.calibration.ranges.target import SIGNED, UNSIGNED
from edge_ad.errors import DataError, UsageError

FLOATS = st.floats(-1e4, 1e4, width=32)
Floats = NDArray[np.floating[Any]]
VALUES = arrays(np.float32, st.integers(1, 60), elements=FLOATS)


def _histogram(*parts: Floats) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part.astype(np.float32))
    return histogram


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=6))
def test_the_order_and_grouping_of_images_change_no_count(parts: list[Floats]) -> None:
    first, second = _histogram(*parts), _histogram(np.concatenate(parts[::-1]))
    assert (first.low, first.high, first.reach) == (second.low, second.high, second.reach)
    assert first.counts.sum() == sum(part.size for part in parts)
    np.testing.assert_array_equal(first.counts, second.counts)


def test_counts_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).normal(0, 3, 50_000).astype(np.float32)
    histogram = _histogram(*np.split(values, 10))
    edges = np.linspace(0, histogram.reach, SIDE + 1)
    np.testing.assert_array_equal(histogram.counts, np.histogram(np.abs(values), edges)[0])


def test_more_values_than_are_counted_at_once_lose_none() -> None:
    values = np.random.default_rng(5).uniform(-1, 1, (1 << 23) + 1000).astype(np.float32)
    histogram = _histogram(values)
    assert histogram.counts.sum() == values.size
    assert histogram.counts.min() > 0.8 * values.size / SIDE


@pytest.mark.parametrize("tiny", [1e-38, 1e-45])
def test_values_that_hardly_differ_from_zero_are_counted(tiny: float) -> None:
    histogram = _histogram(np.array([0.0, tiny]), np.array([1.0]))
    assert histogram.counts.sum() == 3
    assert histogram.amax == 1.0


def test_a_black_first_image_does_not_reduce_the_resolution() -> None:
    values = np.random.default_rng(0).exponential(1, 20_000)
    dark = _histogram(np.zeros(20_000), values * 1e-3, values)
    assert dark.counts.sum() == 60_000
    assert dark.amax == pytest.approx(values.max())
    assert dark.width < values.max() / 2000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    with pytest.raises(DataError, match="NaN or Inf"):
        _histogram(np.array([1.0, bad, 2.0]))


def test_percentiles_are_those_of_all_values() -> None:
    values = np.random.default_rng(1).normal(0, 1, 400_000).astype(np.float32)
    amax = amax_by_method(_histogram(*np.split(values, 8)), SIGNED)
    for share in (99.9, 99.99, 99.999):
        exact = np.percentile(np.abs(values), share)
        assert amax[f"percentile-{share:g}"] == pytest.approx(exact, rel=0.01)
    assert amax["minmax"] == np.abs(values).max()


@pytest.mark.parametrize("steps", [SIGNED, UNSIGNED])
def test_mse_is_no_worse_than_any_clip_tried_on_all_values(steps: int) -> None:
    values = np.random.default_rng(2).laplace(0, 1, 100_000).astype(np.float32)
    histogram = _histogram(values)

    def error(clip: float) -> float:
        step = clip / steps
        quantized = np.clip(np.rint(np.abs(values) / step), 0, steps) * step
        return float(((np.abs(values) - quantized) ** 2).mean())

    chosen = mse(histogram, steps)
    best = min(error(clip) for clip in np.linspace(0.1, 1, 60) * histogram.amax)
    assert error(chosen) <= 1.02 * best
    assert chosen < histogram.amax  # clipping a Laplace tail pays


def test_entropy_clips_a_far_outlier_and_keeps_a_uniform_spread() -> None:
    body = np.random.default_rng(3).normal(0, 1, 200_000)
    outlier = _histogram(np.append(body, 60.0))
    assert entropy(outlier, SIGNED) < 0.3 * outlier.amax
    uniform = _histogram(np.random.default_rng(4).uniform(0, 1, 200_000))
    assert entropy(uniform, SIGNED) > 0.95 * uniform.amax


def divergence(shape: Floats, bins: int, levels: int) -> float:
    """Return the KL divergence of a histogram clipped at `bins` from its copy in `levels`."""
    p, total = shape[:bins].astype(np.float64), shape.sum()
    starts = [-(-level * bins // levels) for level in range(levels)]
    mass, used = np.add.reduceat(p, starts), np.add.reduceat(p > 0, starts, dtype=int)
    q = np.repeat(mass / np.maximum(used, 1), np.diff([*starts, bins])) / p.sum()
    tail = total - p.sum()
    lost = 0.0 if p[-1] > 0 else tail / total * -np.log(np.finfo(np.float32).tiny)
    p[-1] += tail if p[-1] > 0 else 0.0
    filled = p > 0
    return float((p[filled] / total * np.log(p[filled] / total / q[filled])).sum() + lost)


@pytest.mark.parametrize("steps", [5, 15, SIGNED])
@pytest.mark.parametrize("seed", range(3))
def test_entropy_takes_the_clip_of_the_least_divergence(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    histogram = _histogram(rng.gamma(0.5, 1, 400_000))  # steep: clipping pays
    used = int(np.flatnonzero(histogram.counts)[-1]) + 1
    shape = histogram.counts[:used].astype(np.float64)
    shape[0] = shape[1]
    tried = np.unique(np.linspace(steps + 1, used, 128).astype(int))
    chosen = round(entropy(histogram, steps) / histogram.width)
    least = min(divergence(shape, int(bins), steps + 1) for bins in tried)
    assert divergence(shape, chosen, steps + 1) == pytest.approx(least, rel=1e-9)
    assert chosen < 0.6 * used


def test_zeros_do_not_decide_on_the_entropys_clip() -> None:
    values = np.random.default_rng(6).exponential(1, 20_000)
    rare, many = _histogram(values, np.zeros(10)), _histogram(values, np.zeros(200_000))
    assert entropy(rare, UNSIGNED) == entropy(many, UNSIGNED)


def test_every_amax_is_positive_and_at_most_the_largest_value() -> None:
    for values in (np.array([0.25]), np.array([0.0, 3e-8]), np.full(100, 5.0), -np.arange(9.0)):
        histogram = _histogram(values)
        amax = amax_by_method(histogram, SIGNED)
        assert set(amax) == set(METHODS)
        assert all(0 < value <= histogram.amax for value in amax.values())


@pytest.mark.parametrize(
    ("name", "count"), [("all", 6), ("percentile", 3), ("mse", 1), ("percentile-99.99", 1)]
)
def test_a_name_selects_its_methods(name: str, count: int) -> None:
    assert len(methods_named(name)) == count


def test_an_unknown_method_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match="entropy"):
        methods_named("kl")
