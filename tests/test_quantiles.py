"""Quantiles of times and scores."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from edge_ad.quantiles import median, percentiles_ms, quantiles

SHARES = (0.0, 0.05, 0.5, 0.99, 1.0)


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_quantiles_are_numpys(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)

    assert quantiles(values.tolist(), SHARES) == pytest.approx(np.quantile(values, SHARES).tolist())


@pytest.mark.parametrize(
    ("values", "expected"), [([3.0], 3.0), ([9.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 3.0, 2.0], 2.5)]
)
def test_half_of_the_values_lie_below_the_median(values: list[float], expected: float) -> None:
    assert median(values) == expected


def test_times_are_reported_in_milliseconds() -> None:
    times = percentiles_ms([0.003, 0.001, 0.002])

    assert times == {"p50": 2.0, "p95": 2.9, "p99": 2.98, "max": 3.0}


def test_there_are_no_percentiles_of_no_times() -> None:
    assert percentiles_ms([]) is None


def test_they_do_without_numpys_masked_arrays() -> None:
    code = "import sys; from edge_ad.quantiles import percentiles_ms; percentiles_ms([0.1, 0.2])"

    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('numpy.ma' in sys.modules)"],
        stdout=subprocess.PIPE,
        text=True,
    )

    assert done.stdout == "False\n"
