"""Test whether scores of normal parts are alike over time, as the guarantee assumes.

A guarantee for future parts needs exchangeable parts: no order is more likely than another.
Both tests compare a statistic of the ranks with that of random orders, so their level is exact for
every distribution of scores, ties included (permutation test; Phipson and Smyth, "Permutation
p-values should never be zero", 2010).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.thresholds.scores import Scores
from edge_ad.errors import GateFailed
from edge_ad.manifest import Drift

LEVEL = 0.01  # the share of exchangeable sets that are refused
FEWEST = 8  # parts; with fewer, even the most orderly sequence is not rare enough
_ORDERS = 4999
_AT_ONCE = 1 << 20  # scores shuffled in one call: some MiB
_SECONDS_APART = (
    0.2  # an image: files that were copied were written faster than a camera takes them
)

Statistic = Callable[[Scores], Scores]


def drift_of(scores: Scores) -> float:
    """Return the p value of a drift: a trend or a jump in scores (n,) that are in time order.

    The statistic is the largest excursion of the summed, centred ranks (CUSUM).
    """
    return _p_value(scores, lambda ranks: np.abs(np.cumsum(ranks, axis=-1)).max(axis=-1))


def dependence_of(scores: Scores) -> float:
    """Return the p value of neighbours in time that resemble each other, as frames of one part do.

    The statistic is the serial correlation of the ranks at lag 1.
    """
    return _p_value(scores, lambda ranks: (ranks[..., 1:] * ranks[..., :-1]).sum(axis=-1))


def check_drift(scores: Scores, order: str, *, allowed: bool = False) -> Drift | None:
    """Return the result of the test, None for too few parts.

    Raises GateFailed when the scores drift, unless that is `allowed`.
    """
    if len(scores) < FEWEST:
        return None
    p = drift_of(scores)
    if p <= LEVEL and not allowed:
        first, last = _thirds(scores)
        raise GateFailed(
            f"scores of normal parts drift over time (in order of {order}: median {first:.4g} in "
            f"the first third, {last:.4g} in the last; such a drift has probability {p:.2g} by "
            f"chance, refused at {LEVEL:g}). A threshold from them guarantees nothing for parts to "
            "come, so nothing is stored. Find the cause (light, focus, dirt, another batch) and "
            "take images again; or give --allow-drift, which is recorded.",
            {"drift": {"order": order, "p": p, "level": LEVEL}, "parts": len(scores)},
        )
    return Drift(order=order, p=p, level=LEVEL, accepted=p <= LEVEL)


def with_brightness(drift: Drift | None, brightness: Scores) -> Drift | None:
    """Return a drift with that of the parts' brightness (n,) in the same order, if measured."""
    if drift is None or not len(brightness):
        return drift
    first, last = (round(one, 2) for one in _thirds(brightness))
    return drift.replace(brightness=(first, last), brightness_p=drift_of(brightness))


def _thirds(values: Scores) -> tuple[float, float]:
    """Return the medians of the first and of the last third."""
    third = max(1, len(values) // 3)
    return float(np.median(values[:third])), float(np.median(values[-third:]))


def check_independence(scores: Scores) -> None:
    """Raise GateFailed when successive frames resemble each other: they show the same part."""
    if len(scores) < FEWEST or (p := dependence_of(scores)) > LEVEL:
        return
    raise GateFailed(
        f"{len(scores)} frames are not as many parts: successive ones score alike (probability "
        f"{p:.2g} by chance, refused at {LEVEL:g}), as frames that show the same part do. Say how "
        f"many frames in a row show one part with --frames-per-part ({_frames_alike(scores)} or "
        "more here; 1 if each frame shows another). Nothing is stored.",
        {"dependence": {"p": p, "level": LEVEL}, "images": len(scores)},
    )


def time_order(paths: Sequence[Path]) -> tuple[str, list[Path]] | None:
    """Return the images in the order they were taken, and what says so; None where nothing does.

    Times of files count where they are as far apart as a camera's images are, else running
    numbers in names that differ in one number alone.
    """
    times = [path.stat().st_mtime for path in paths]
    if len(set(times)) == len(times) > 1:
        if max(times) - min(times) >= _SECONDS_APART * (len(times) - 1):
            return "file times", [path for _, path in sorted(zip(times, paths, strict=True))]
    numbers = _running_numbers([path.stem for path in paths])
    if numbers is None:
        return None
    return "numbers in names", [path for _, path in sorted(zip(numbers, paths, strict=True))]


def _running_numbers(stems: Sequence[str]) -> list[int] | None:
    """Return the one number in which names differ; None when they differ in more, or repeat."""
    split = [re.split(r"(\d+)", stem) for stem in stems]
    if len({len(parts) for parts in split}) != 1:
        return None
    columns = [column for column in zip(*split, strict=True) if len(set(column)) > 1]
    if len(columns) != 1 or not all(text.isdecimal() for text in columns[0]):
        return None
    numbers = [int(text) for text in columns[0]]
    return numbers if len(set(numbers)) == len(numbers) else None


def _frames_alike(scores: Scores) -> int:
    """Return the lag from which scores of frames are nearly uncorrelated."""
    ranks = _ranks(scores)
    whole = float((ranks * ranks).sum())
    lags = range(1, len(ranks) // 2)
    alike = (lag for lag in lags if (ranks[lag:] * ranks[:-lag]).sum() < 0.1 * whole)
    return next(alike, len(ranks) // 2)


def _p_value(scores: Scores, statistic: Statistic) -> float:
    """Return the share of orders, the observed one included, with as large a statistic."""
    ranks, rng = _ranks(scores), np.random.default_rng(0)
    observed, as_large, done = float(statistic(ranks)), 0, 0
    limit = observed * (1 - 1e-9) if observed > 0 else observed  # sums differ in their last bits
    while done < _ORDERS:
        count = min(_ORDERS - done, max(1, _AT_ONCE // len(ranks)))
        shuffled = rng.permuted(np.tile(ranks, (count, 1)), axis=1)
        as_large += int((statistic(shuffled) >= limit).sum())
        done += count
    return (as_large + 1) / (_ORDERS + 1)


def _ranks(scores: Scores) -> NDArray[np.float64]:
    """Return centred ranks; ties get their mean."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(mean_rank[place.reshape(-1)] - (len(scores) - 1) / 2, np.float64)
