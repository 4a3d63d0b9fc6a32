"""How many parts a guarantee needs (Wilks, "Determination of sample sizes", 1941).

A part is rejected when its highest score exceeds the threshold. With the threshold at the highest
score of n independent parts, the share of parts above it is at most `rate` with probability
1 - (1 - rate)^n, for every distribution of scores. Images of one part do not raise n.
"""

from __future__ import annotations

import math

from edge_ad.errors import UsageError

USUAL_RATE = 0.05  # for messages to those who have too few parts for it
_ROUNDING = 1e-9  # of logarithms in floating point


def parts_needed(rate: float, confidence: float) -> int:
    """Return the least number of independent parts that supports `rate` with `confidence`.

    Both lie strictly between 0 and 1. Raises UsageError otherwise.
    """
    _check(rate=rate, confidence=confidence)
    return max(1, math.ceil(math.log1p(-confidence) / math.log1p(-rate) - _ROUNDING))


def supported_rate(parts: int, confidence: float) -> float:
    """Return the lowest rate that `parts` independent parts support; 1.0 for none."""
    _check(confidence=confidence)
    if parts < 0:
        raise UsageError(f"the number of parts is 0 or more, got {parts}.")
    return -math.expm1(math.log1p(-confidence) / parts) if parts else 1.0


def rounded_up(rate: float) -> float:
    """Round to two significant digits, never below the rate itself."""
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return min(0.999, float(f"{math.ceil(rate / step - 1e-9) * step:.2g}"))


def _check(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 < value < 1:  # also false for nan
            raise UsageError(f"{name}: expected a number between 0 and 1, exclusive; got {value}.")
