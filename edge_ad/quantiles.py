"""Quantiles of a few thousand numbers.

`numpy.quantile` imports masked arrays when it is first called: 15 to 30 ms in the midst of a run,
and a MiB; `statistics` imports fractions, half a MiB of every run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

_LATENCY = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def quantiles(values: Collection[float], shares: Sequence[float]) -> list[float]:
    """Return the quantiles of one or more values at shares of 0 to 1, interpolated linearly."""
    ordered = np.sort(np.fromiter(values, np.float64, len(values)))
    places = np.array(shares) * (len(ordered) - 1)
    interpolated: list[float] = np.interp(places, np.arange(len(ordered)), ordered).tolist()
    return interpolated


def median(values: Collection[float]) -> float:
    """Return the median of one or more values."""
    return quantiles(values, (0.5,))[0]


def percentiles_ms(seconds: Collection[float]) -> dict[str, float] | None:
    """Return p50, p95, p99 and max in milliseconds, or None for no times."""
    if not seconds:
        return None
    values = quantiles(seconds, tuple(_LATENCY.values()))
    return {name: round(value * 1e3, 3) for name, value in zip(_LATENCY, values, strict=True)}
