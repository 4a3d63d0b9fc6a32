"""Range methods: from a tensor's histogram to the value at which int8 clips.

Every method returns an amax, the largest absolute value that is not clipped. minmax clips nothing;
percentiles clip a fixed share; mse and entropy weigh what clipping loses against the finer steps it
buys: by mean squared error, and by the Kullback-Leibler divergence (S. Migacz, 8-bit inference with
TensorRT, GTC 2017).

To add a method, write one function here and decorate it with `@range_method("its-name")`: the
range tables, `--method` and the reports all read `METHODS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.ranges.histogram import Histogram
from edge_ad.errors import UsageError

RangeMethod: TypeAlias = Callable[[Histogram, int], float]
METHODS: dict[str, RangeMethod] = {}  # amax from a histogram and the steps from zero to amax

_CANDIDATES = 128  # clips that mse and entropy try, evenly spaced
_PERCENTILE = "percentile-"

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def range_method(name: str) -> Callable[[RangeMethod], RangeMethod]:
    """Register the decorated function as the range method `name`."""

    def register(method: RangeMethod) -> RangeMethod:
        METHODS[name] = method
        return method

    return register


def method_choices() -> tuple[str, ...]:
    """Return the names that `--method` takes: every method, and two names for several."""
    return (*METHODS, "percentile", "all")


def methods_named(name: str) -> tuple[str, ...]:
    """Return the methods behind a name: `all`, `percentile` (every share), or one method."""
    if name == "all":
        return tuple(METHODS)
    if name == "percentile":
        return tuple(method for method in METHODS if method.startswith(_PERCENTILE))
    if name not in METHODS:
        raise UsageError(
            f"no range method '{name}'. Expected one of: {', '.join(method_choices())}."
        )
    return (name,)


def amax_by_method(histogram: Histogram, steps: int) -> dict[str, float]:
    """Return amax by every method; `steps` is 127 for signed int8, 255 for unsigned activations."""
    top = histogram.amax
    return {name: min(method(histogram, steps), top) for name, method in METHODS.items()}


@range_method("minmax")
def minmax(histogram: Histogram, steps: int) -> float:
    """Clip nothing."""
    return histogram.amax


@range_method("percentile-99.9")
def percentile_99_9(histogram: Histogram, steps: int) -> float:
    """Clip one value in a thousand."""
    return percentile(histogram, 99.9)


@range_method("percentile-99.99")
def percentile_99_99(histogram: Histogram, steps: int) -> float:
    """Clip one value in ten thousand."""
    return percentile(histogram, 99.99)


@range_method("percentile-99.999")
def percentile_99_999(histogram: Histogram, steps: int) -> float:
    """Clip one value in a hundred thousand."""
    return percentile(histogram, 99.999)


@range_method("mse")
def mse(histogram: Histogram, steps: int) -> float:
    """Minimize the mean squared error of rounding and clipping together."""
    counts, used = histogram.counts, _used_bins(histogram.counts)
    values = np.asarray((np.arange(used) + 0.5) * histogram.width, np.float64)
    clips = np.asarray(values[-1] * np.arange(1, _CANDIDATES + 1) / _CANDIDATES, np.float64)
    full = np.flatnonzero(counts[:used])
    errors = _squared_errors(values[full], counts[full], clips, steps)
    return float(clips[int(np.argmin(errors))])


@range_method("entropy")
def entropy(histogram: Histogram, steps: int) -> float:
    """Minimize the divergence of the quantized distribution from the unclipped one."""
    used = _used_bins(histogram.counts)
    shape = histogram.counts[:used].astype(np.float64)
    shape[0] = shape[min(1, used - 1)]  # zero is exact at every clip: its peak must not decide
    least = min(steps + 1, used)
    bins = np.unique(np.linspace(least, used, _CANDIDATES).astype(int))
    losses = _divergences(shape, bins, steps + 1)
    return float((bins[int(np.argmin(losses))]) * histogram.width)


def percentile(histogram: Histogram, share: float) -> float:
    """Return the value that `share` percent of absolute values do not exceed, linear in a bin."""
    counts = histogram.counts
    total = np.cumsum(counts)
    target = total[-1] * share / 100
    bin_ = int(np.searchsorted(total, target))
    before = total[bin_ - 1] if bin_ else 0
    return float((bin_ + (target - before) / counts[bin_]) * histogram.width)


def _used_bins(counts: NDArray[np.int64]) -> int:
    """Count the bins up to the last that is not empty."""
    return int(np.flatnonzero(counts)[-1]) + 1


def _squared_errors(values: Floats, counts: Counts, clips: Floats, steps: int) -> Floats:
    """Return the squared error of `counts` times the values at each of the clips."""
    step = (clips / steps)[:, None]
    quantized = np.minimum(np.rint(values / step), steps) * step
    return np.asarray((counts * (values - quantized) ** 2).sum(axis=1))


def _divergences(shape: Floats, clips: Counts, levels: int) -> Floats:
    """Return the KL divergence of a distribution clipped at so many bins from its copy in `levels`.

    What lies beyond a clip is added to its last bin on one side only, which is its price. In the
    copy the bins of a level share its mass equally, empty ones apart. With p of mass P, and q of
    mass Q, the divergence is the sum of p (log p - log q), over P, plus log(Q / P); sums over the
    bins of a level, and up to a clip, are differences of running sums.
    """
    mass_to, used_to, plogp_to = map(_running, (shape, shape > 0, _xlogx(shape)))
    edges = -(-np.arange(levels + 1) * clips[:, None] // levels)  # first bins of the levels
    mass, used = np.diff(mass_to[edges]), np.diff(used_to[edges])
    within, tail = mass_to[clips], mass_to[-1] - mass_to[clips]
    rows, last = np.arange(len(clips)), (clips - 1) * levels // clips
    ends = shape[clips - 1]  # the last bin, and what its level gives to each
    copied = mass[rows, last] / np.maximum(used[rows, last], 1)
    added = np.where(ends > 0, tail, 0.0)
    entropy = plogp_to[clips] - _xlogx(ends) + _xlogx(ends + added)
    crossed = (mass * _log(mass / np.maximum(used, 1))).sum(axis=1) + added * _log(copied)
    shared = entropy - crossed + (within + added) * _log(within / mass_to[-1])
    losses = (shared + (tail - added) * -math.log(np.finfo(np.float32).tiny)) / mass_to[-1]
    return np.where(within > 0, losses, np.inf)


def _running(values: NDArray[Any]) -> Floats:
    """Return the sums of the first none, one, two ... values."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _log(values: Floats) -> Floats:
    """Return logarithms, and 0 for 0, which stands for an empty bin."""
    return np.log(np.where(values > 0, values, 1.0))


def _xlogx(values: Floats) -> Floats:
    return values * _log(values)
