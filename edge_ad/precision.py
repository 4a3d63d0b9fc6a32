"""Numeric precisions of an engine's graph, simplest first."""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["fp32", "fp16", "int8"]
FloatPrecision = Literal["fp32", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FLOAT_PRECISIONS: tuple[FloatPrecision, ...] = get_args(FloatPrecision)


def coarser(first: Precision, second: Precision) -> Precision:
    """Return the one of two precisions that rounds more."""
    return max(first, second, key=PRECISIONS.index)
