"""Percentiles of times by nearest rank, and which of them a sample can carry."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

CONFIDENCE = 0.95
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


def describe_times(seconds: Collection[float]) -> dict[str, float | None]:
    """Return `n` and, in milliseconds, the percentiles and the maximum.

    A percentile that the sample is too small for is None. `upper_ms` below has its bound.
    """
    ordered = sorted(seconds)
    times: dict[str, float | None] = {"n": len(ordered)}
    for name, share in SHARES.items():
        carried = upper_rank(len(ordered), share) is not None
        times[f"{name}_ms"] = _ms(nearest_rank(ordered, share)) if carried else None
    return times | {"max_ms": _ms(ordered[-1]) if ordered else None}


def upper_bounds_ms(seconds: Collection[float]) -> dict[str, float]:
    """Return the bound that each percentile lies below with 95 % confidence, in milliseconds.

    Percentiles that the sample is too small for are left out.
    """
    ordered = sorted(seconds)
    ranks = {name: upper_rank(len(ordered), share) for name, share in SHARES.items()}
    return {name: _ms(ordered[rank - 1]) for name, rank in ranks.items() if rank is not None}


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the ascending values do not exceed."""
    rank = math.ceil(round(share * len(ordered), 9))  # 0.55 * 100 is 55.00000000000001
    return ordered[max(1, rank) - 1]


def upper_rank(count: int, share: float) -> int | None:
    """Return the rank whose value the percentile does not exceed, with the stated confidence.

    None when no rank has it: fewer than 299 times cannot bound a 99th percentile with 95 %.
    """
    above = most_above(count, share, CONFIDENCE)
    return None if above is None else count - above


def most_above(count: int, share: float, confidence: float) -> int | None:
    """Return the largest t so that t or fewer of `count` values above the percentile are unlikely.

    Their number is binomial (count, 1 - share); P(at most t) <= 1 - confidence. None when even
    P(none) is larger. The sum behind MLPerf's early stopping (inference rules, appendix).
    """
    if count == 0:
        return None
    k = np.arange(1, count + 1)
    steps = np.log((count - k + 1) / k) + math.log((1 - share) / share)
    logs = count * math.log(share) + np.concatenate([[0.0], np.cumsum(steps)])
    likely = np.cumsum(np.exp(logs)) > 1 - confidence
    return int(likely.argmax()) - 1 if not likely[0] else None


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 4)
