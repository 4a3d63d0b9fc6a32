"""The guarantee of a threshold: how many parts it takes, and the rate that they support.

Of n independent normal scores let t be the m-th largest. The share of all normal parts that score
above t is Beta(m, n - m + 1) distributed for every continuous distribution of scores, and smaller
when scores tie, so

    P(share above t <= rate) >= P(Binomial(n, rate) >= m)

(order statistics; Wilks, "Determination of sample sizes for setting tolerance limits", 1941). The
guarantee is distribution-free. Independent are parts, not their images: n counts parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_ad.calibration.thresholds.interval import binomial
from edge_ad.parts import parts_needed, rounded_up, supported_rate

LOWEST_RATE = 0.001  # that is aimed at without --false-alarm-rate: 2995 parts
_ROUNDING = 1e-9  # of sums and logarithms in floating point


@dataclass(frozen=True, slots=True)
class Guarantee:
    """At most `rate` of normal parts are rejected, with probability `confidence`."""

    rate: float
    confidence: float


def best_guarantee(parts: int, guarantee: Guarantee) -> Guarantee:
    """Return the guarantee itself if this many parts support it, else the nearest they do."""
    if largest_rank(parts, guarantee):
        return guarantee
    rate = rounded_up(supported_rate(parts, guarantee.confidence))
    return Guarantee(rate, guarantee.confidence)


def largest_rank(parts: int, guarantee: Guarantee) -> int:
    """Return the greatest m whose m-th largest score keeps the guarantee; 0 if not even m = 1."""
    rank, below = 0, binomial(parts, 0, guarantee.rate)
    while rank < parts and 1 - below >= guarantee.confidence - _ROUNDING:
        rank += 1
        below += binomial(parts, rank, guarantee.rate)
    return rank


def figures(parts: int, requested: Guarantee) -> dict[str, float]:
    """Return what this many parts support beside what was requested."""
    return {
        "parts": parts,
        "requested_rate": requested.rate,
        "parts_needed": parts_needed(requested.rate, requested.confidence),
        "supported_rate": supported_rate(parts, requested.confidence),
    }
