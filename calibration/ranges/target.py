"""Int8 targets: which runtime will run the file, and how it divides a range into steps."""

from __future__ import annotations

from typing import Literal, NamedTuple

from edge_ad.calibration.ranges.histogram import Histogram

Target = Literal["tensorrt", "onnxruntime"]
TARGETS: tuple[Target, ...] = ("tensorrt", "onnxruntime")
SIGNED, UNSIGNED = 127, 255  # steps from zero to amax


class Range(NamedTuple):
    """The values of a tensor that int8 distinguishes; what lies outside is clipped."""

    low: float
    high: float


def steps_of(histogram: Histogram, target: Target) -> int:
    """Return the steps from zero to amax: unsigned activations of one sign have all 255."""
    one_sign = histogram.low >= 0 or histogram.high <= 0
    return UNSIGNED if target == "onnxruntime" and one_sign else SIGNED
