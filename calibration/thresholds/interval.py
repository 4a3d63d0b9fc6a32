"""Exact confidence interval of a share (Clopper and Pearson, Biometrika 26, 1934)."""

from __future__ import annotations

import math
from collections.abc import Callable

_STEPS = 60  # halvings of [0, 1]: to the last bit of a double


def clopper_pearson(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval that holds the true share with at least `confidence`.

    `count` of `total` independent trials had the outcome. Without a trial it is (0, 1).
    """
    tail = (1 - confidence) / 2
    low = high = 0.0
    if count > 0:  # the share at which `count` or more is as rare as the tail
        low = _root(lambda share: at_least(count, total, share) - tail)
    high = 1.0
    if count < total:  # the share at which `count` or fewer is as rare as the tail
        high = _root(lambda share: at_least(count + 1, total, share) - (1 - tail))
    return low, high


def at_least(count: int, total: int, share: float) -> float:
    """Return P(Binomial(total, share) >= count), summed over the shorter tail."""
    if count <= 0:
        return 1.0
    if share <= 0 or share >= 1:
        return float(share >= 1 and count <= total)
    if count > total * share:
        return math.fsum(binomial(total, k, share) for k in range(count, total + 1))
    return 1 - math.fsum(binomial(total, k, share) for k in range(count))


def binomial(total: int, count: int, share: float) -> float:
    """Return P(Binomial(total, share) = count), by logarithms since `total` may be thousands."""
    ways = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
    return math.exp(ways + count * math.log(share) + (total - count) * math.log1p(-share))


def _root(rising: Callable[[float], float]) -> float:
    """Return where a rising function crosses zero in [0, 1]."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
