"""Pixel counts of a data set, enough to compute every pixel metric exactly in bounded memory.

Pixel metrics change only at the scores of anomalous pixels, which are few. So those scores are
kept, and normal pixels are only counted between them, map by map: memory grows with the area of
the defects, not with the data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from edge_ad.errors import EdgeAdError
from edge_ad.preprocess import Map

Mask = NDArray[np.bool_]
_EIGHT = np.ones((3, 3), np.int8)  # neighbours that touch at a corner are one defect
_Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pixels:
    """Count pixels at each distinct anomalous score.

    `values` (d,) are the distinct scores of anomalous pixels, increasing. For each of them,
    `anomalous` counts the anomalous pixels with exactly this score, `normal_from` the normal pixels
    with this score or more, `normal_above` those with more, and `overlap` is what those anomalous
    pixels add to the mean covered share of the defects. For each defect (8-connected), `critical`
    (k,) is the highest threshold that more than half of its pixels reach, and `sizes` counts them.
    """

    values: Map
    anomalous: _Counts
    overlap: NDArray[np.float64]
    normal_from: _Counts
    normal_above: _Counts
    normal: int
    critical: Map
    sizes: _Counts

    @property
    def both_classes(self) -> bool:
        return self.normal > 0 and len(self.values) > 0


@dataclass(frozen=True, slots=True)
class NormalCounts:
    """Count normal pixels at increasing `values`: those `above` each, `from_here` on, and all."""

    values: Map
    above: _Counts
    from_here: _Counts
    total: int

    def at(self, values: Map) -> NormalCounts:
        """Return the counts at some of the values."""
        place = np.searchsorted(self.values, values)
        return NormalCounts(values, self.above[place], self.from_here[place], self.total)

    def __add__(self, other: NormalCounts) -> NormalCounts:
        return NormalCounts(
            self.values,
            self.above + other.above,
            self.from_here + other.from_here,
            self.total + other.total,
        )


def pool_pixels(
    maps: Sequence[Map],
    masks: Sequence[Mask],
    *,
    beside: Callable[[Map], NormalCounts] | None = None,
) -> Pixels:
    """Count the pixels of maps and masks of equal shapes; those at minus infinity are ignored.

    `beside` returns the counts of further images, without defects, at the values it is given. Maps
    may differ in size: every pixel weighs the same. They are read twice. Raises EdgeAdError for NaN
    and positive infinity, which no metric can rank.
    """
    pairs = list(zip(maps, masks, strict=True))
    defects = [scores for values, mask in pairs for scores in defect_scores(values, mask)]
    sizes = np.array([len(scores) for scores in defects], np.int64)
    values, place = np.unique(np.concatenate([_NONE, *defects]), return_inverse=True)
    shares = np.repeat(1 / np.maximum(sizes, 1) / max(1, len(sizes)), sizes)
    normal = count_normal(pairs, values)
    if beside is not None:
        normal += beside(values)
    return Pixels(
        values=values,
        anomalous=np.bincount(place, minlength=len(values)),
        overlap=np.bincount(place, shares, len(values)).astype(np.float64),
        normal_from=normal.from_here,
        normal_above=normal.above,
        normal=normal.total,
        critical=np.sort(np.concatenate([_NONE, *(critical_score(scores) for scores in defects)])),
        sizes=sizes,
    )


_NONE: Map = np.empty(0, np.float32)


def defect_scores(values: Map, mask: Mask) -> Iterator[Map]:
    """Yield the scores of each connected defect, without its ignored pixels."""
    _check_numbers(values)
    labels, count = ndimage.label(mask, _EIGHT)
    counted = mask & ~np.isneginf(values)
    scores, owners = values[counted], labels[counted]
    order = np.argsort(owners, kind="stable")
    ends = np.cumsum(np.bincount(owners, minlength=count + 1))
    for start, end in pairwise(ends):
        if end > start:
            yield scores[order[start:end]]


def critical_score(scores: Map) -> Map:
    middle = (len(scores) - 1) // 2  # counted from the lowest, so that more than half reach it
    return np.asarray(np.partition(scores, middle)[middle : middle + 1])


def count_normal(pairs: Sequence[tuple[Map, Mask]], values: Map) -> NormalCounts:
    """Count the normal pixels of maps and masks at increasing values.

    Raises EdgeAdError for NaN and positive infinity.
    """
    below, up_to = np.zeros((2, len(values) + 1), np.int64)  # how many values each pixel passes
    total = 0
    for scores, mask in pairs:
        _check_numbers(scores)
        ranked = np.sort(scores[~mask & ~np.isneginf(scores)])
        total += len(ranked)
        below += np.bincount(np.searchsorted(values, ranked, "left"), minlength=len(below))
        up_to += np.bincount(np.searchsorted(values, ranked, "right"), minlength=len(up_to))
    return NormalCounts(values, _reaching(below), _reaching(up_to), total)


def _reaching(passed: _Counts) -> _Counts:
    """Return how many pixels pass each value, given how many pass 0, 1, 2 ... values."""
    return np.asarray(np.cumsum(passed[::-1])[::-1][1:], np.int64)


def _check_numbers(values: Map) -> None:
    if np.isnan(values).any() or np.isposinf(values).any():
        raise EdgeAdError(
            "anomaly maps contain NaN or Inf, so no metric can rank them. Expected finite numbers; "
            "check the detector, or train or export it again."
        )
