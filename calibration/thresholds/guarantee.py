"""The guarantee of a threshold: how many normal images it takes, and the rate that they support.

Of n independent normal scores let t be the m-th largest. The share of all normal parts that score
above t is Beta(m, n - m + 1) distributed for every continuous distribution of scores, and smaller
when scores tie, so

    P(share above t <= rate) >= P(Binomial(n, rate) >= m)

(order statistics; Wilks, "Determination of sample sizes for setting tolerance limits", 1941). The
guarantee is distribution-free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_ROUNDING = 1e-9  # of sums and logarithms in floating point


@dataclass(frozen=True, slots=True)
class Guarantee:
    """At most `rate` of normal frames are rejected, with probability `confidence`."""

    rate: float
    confidence: float


def best_guarantee(images: int, guarantee: Guarantee) -> Guarantee:
    """Return the guarantee itself if so many images support it, else the nearest they do."""
    if largest_rank(images, guarantee):
        return guarantee
    rate = rounded_up(supported_rate(images, guarantee.confidence))
    return Guarantee(rate, guarantee.confidence)


def largest_rank(images: int, guarantee: Guarantee) -> int:
    """Return the greatest m whose m-th largest score keeps the guarantee; 0 if not even m = 1."""
    rank, below = 0, _binomial(images, 0, guarantee.rate)
    while rank < images and 1 - below >= guarantee.confidence - _ROUNDING:
        rank += 1
        below += _binomial(images, rank, guarantee.rate)
    return rank


def images_needed(guarantee: Guarantee) -> int:
    """Return how many independent normal images it takes for their maximum to keep it."""
    exact = math.log1p(-guarantee.confidence) / math.log1p(-guarantee.rate)
    return max(1, math.ceil(exact - _ROUNDING))


def supported_rate(images: int, confidence: float) -> float:
    """Return the lowest rate that the maximum of so many scores can guarantee."""
    return -math.expm1(math.log1p(-confidence) / images)


def figures(images: int, requested: Guarantee) -> dict[str, float]:
    """Return what so many images support beside what was requested."""
    return {
        "images": images,
        "requested_rate": requested.rate,
        "images_needed": images_needed(requested),
        "supported_rate": supported_rate(images, requested.confidence),
    }


def rounded_up(rate: float) -> float:
    """Round to two significant digits, never below the rate itself."""
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return min(0.999, float(f"{math.ceil(rate / step - 1e-9) * step:.2g}"))


def _binomial(n: int, k: int, p: float) -> float:
    """Return P(Binomial(n, p) = k), by logarithms since n may be many thousands."""
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))
