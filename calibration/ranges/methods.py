"""From a tensor's histogram to its range: where int8 should clip.

All methods answer with an amax, the largest absolute value that is still told apart. minmax clips
nothing; percentiles clip a fixed share; mse and entropy weigh what clipping loses against the finer
steps it buys: by mean squared error, and by the Kullback-Leibler divergence (S. Migacz, 8-bit
inference with TensorRT, GTC 2017).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.ranges.histogram import Histogram
from edge_ad.errors import UsageError

PERCENTILES = (99.9, 99.99, 99.999)
PERCENTILE_NAMES = tuple(f"percentile-{share:g}" for share in PERCENTILES)
METHODS = ("minmax", *PERCENTILE_NAMES, "mse", "entropy")
SIGNED, UNSIGNED = 127, 255  # steps from zero to amax

_CANDIDATES = 128  # clips that mse and entropy try, evenly spaced

Floats = NDArray[np.float64]


def methods_named(name: str) -> tuple[str, ...]:
    """The methods behind a name: `all`, `percentile` (every share), or one method."""
    if name == "all":
        return METHODS
    if name == "percentile":
        return PERCENTILE_NAMES
    if name not in METHODS:
        raise UsageError(f"no method '{name}'; there are: all, percentile, {', '.join(METHODS)}.")
    return (name,)


def all_amax(histogram: Histogram, steps: int) -> dict[str, float]:
    """amax by every method; `steps` is 127 for signed int8, 255 for unsigned activations."""
    counts, width = histogram.counts, histogram.width
    top = histogram.amax
    found = {
        "minmax": top,
        "mse": mse(counts, width, steps),
        "entropy": entropy(counts, width, steps),
    }
    for name, share in zip(PERCENTILE_NAMES, PERCENTILES, strict=True):
        found[name] = percentile(counts, width, share)
    return {name: min(found[name], top) for name in METHODS}


def percentile(counts: NDArray[np.int64], width: float, share: float) -> float:
    """The value that `share` percent of absolute values do not exceed, linear within a bin."""
    total = np.cumsum(counts)
    wanted = total[-1] * share / 100
    bin_ = int(np.searchsorted(total, wanted))
    before = total[bin_ - 1] if bin_ else 0
    return float((bin_ + (wanted - before) / counts[bin_]) * width)


def mse(counts: NDArray[np.int64], width: float, steps: int) -> float:
    """The clip with the least mean squared error of rounding and clipping together."""
    used = _used(counts)
    values = np.asarray((np.arange(used) + 0.5) * width, np.float64)
    clips = np.asarray(values[-1] * np.arange(1, _CANDIDATES + 1) / _CANDIDATES, np.float64)
    errors = [_squared_error(values, counts[:used], clip, steps) for clip in clips]
    return float(clips[int(np.argmin(errors))])


def entropy(counts: NDArray[np.int64], width: float, steps: int) -> float:
    """The clip whose quantized distribution tells the most about the unclipped one."""
    used = _used(counts)
    shape = counts[:used].astype(np.float64)
    shape[0] = shape[min(1, used - 1)]  # zero is exact at every clip: its peak must not decide
    least = min(steps + 1, used)
    bins = np.unique(np.linspace(least, used, _CANDIDATES).astype(int))
    losses = [_divergence(shape, int(count), steps + 1) for count in bins]
    return float((bins[int(np.argmin(losses))]) * width)


def _used(counts: NDArray[np.int64]) -> int:
    """How many bins there are up to the last that holds anything."""
    return int(np.flatnonzero(counts)[-1]) + 1


def _squared_error(values: Floats, counts: NDArray[np.int64], clip: float, steps: int) -> float:
    step = clip / steps
    kept = np.minimum(np.rint(values / step), steps) * step
    return float((counts * (values - kept) ** 2).sum())


def _divergence(shape: Floats, bins: int, levels: int) -> float:
    """KL divergence between the clipped distribution and its copy on `levels` levels.

    What lies beyond the clip is counted in its last bin on one side only, which is its price.
    """
    clipped = shape[:bins].copy()
    level = np.arange(bins) * levels // bins
    filled = clipped > 0
    mass = np.bincount(level, clipped, levels)
    share = np.bincount(level, filled, levels)
    copy = np.where(filled, (mass / np.maximum(share, 1))[level], 0.0)
    clipped[-1] += shape[bins:].sum()
    return _kl(clipped, copy)


def _kl(reference: Floats, copy: Floats) -> float:
    if copy.sum() == 0.0:
        return np.inf
    reference = reference / reference.sum()
    copy = copy / copy.sum()
    both = (reference > 0) & (copy > 0)
    lost = reference[(reference > 0) & (copy == 0)].sum()
    told = (reference[both] * np.log(reference[both] / copy[both])).sum()
    return float(told + lost * np.log(1 / np.finfo(np.float32).tiny))
