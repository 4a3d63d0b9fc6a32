"""Score histograms by group of images, from which the metrics of any draw of groups follow.

A bootstrap needs the metrics of a thousand draws. Counting pixels once, by group and by score,
makes each of them a sum; the bins are many enough to change a metric by less than 0.001.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.pixels import Mask, critical_score, defect_scores
from edge_ad.evaluation.predictions import ScoredImage
from edge_ad.preprocess import Map

BINS = 1500  # from the scores of normal and of anomalous pixels each, fewer for very many groups
_COUNTS = 20_000_000
_PER_MAP = 4000  # normal pixels of a map that bins are chosen by
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Histograms:
    """Counts (groups, bins) by score, the lowest scores first.

    `normal` and `anomalous` count pixels or images; `overlap` is what pixels add to the covered
    share of their defect, `critical` counts defects by their critical score (see `Pixels`).
    """

    normal: Floats
    anomalous: Floats
    overlap: Floats
    critical: Floats

    def drawn(self, times: NDArray[np.int64]) -> Histograms:
        """Return the counts (draws, bins) when groups are drawn this many times (draws, groups)."""
        weights = times.astype(np.float64)
        return Histograms(*(weights @ counts for counts in vars(self).values()))

    def rows(self, most: int) -> Iterator[Histograms]:
        """Yield the counts of `most` groups or draws after the other."""
        for start in range(0, len(self.normal), most):
            yield Histograms(*(counts[start : start + most] for counts in vars(self).values()))

    def of(self, groups: NDArray[np.intp]) -> Histograms:
        """Return the counts of some groups."""
        return Histograms(*(counts[groups] for counts in vars(self).values()))


def image_histograms(scored: Sequence[ScoredImage], group: NDArray[np.intp]) -> Histograms:
    """Count image scores by group; `group` (n,) numbers the group of each image."""
    scores = np.array([item.score for item in scored])
    edges = _thinned(np.unique(scores), 2 * _bins(group))
    counts = np.zeros((2, int(group.max()) + 1, len(edges)))
    labels = np.array([item.sample.anomalous for item in scored], int)
    np.add.at(counts, (labels, group, _bin(scores, edges)), 1)
    nothing = np.zeros_like(counts[0])
    return Histograms(counts[0], counts[1], nothing, nothing)


def pixel_histograms(scored: Sequence[ScoredImage], group: NDArray[np.intp]) -> Histograms | None:
    """Count pixels by group; None when no defect has a mask."""
    known = [(item.values, item.mask, number) for item, number in zip(scored, group, strict=True)
             if item.mask is not None]  # fmt: skip
    defects = [list(defect_scores(values, mask)) for values, mask, _ in known]
    if not any(defects):
        return None
    edges = _edges(known, [scores for found in defects for scores in found], _bins(group))
    counts = np.zeros((4, int(group.max()) + 1, len(edges)))
    for (values, mask, number), found in zip(known, defects, strict=True):
        normal = values[~mask & ~np.isneginf(values)]
        counts[0, number] += np.bincount(_bin(normal, edges), minlength=len(edges))
        for scores in found:
            places = np.bincount(_bin(scores, edges), minlength=len(edges))
            counts[1, number] += places
            counts[2, number] += places / len(scores)
            counts[3, number, _bin(critical_score(scores), edges)] += 1
    return Histograms(*counts)


def _bins(group: NDArray[np.intp]) -> int:
    return max(50, min(BINS, _COUNTS // (4 * 3 * (int(group.max()) + 1))))


def _edges(known: Sequence[tuple[Map, Mask, int]], defects: Sequence[Map], bins: int) -> Map:
    """Return the bins' lower edges: quantiles of normal and anomalous pixels, critical scores."""
    normal = []
    for values, mask, _ in known:
        scores = np.sort(values[~mask & ~np.isneginf(values)])
        # the highest decide precision and false alarms, so they are kept one by one
        normal.append(np.concatenate([scores[:: max(1, len(scores) // _PER_MAP)], scores[-50:]]))
    anomalous = np.unique(np.concatenate(defects))
    pooled = np.unique(np.concatenate(normal))
    tail = pooled[-bins // 3 :]
    critical = np.concatenate([critical_score(scores) for scores in defects])
    sets = [
        _thinned(pooled, bins),
        tail,
        _thinned(anomalous, bins),
        _thinned(np.sort(critical), bins),
    ]
    return np.unique(np.concatenate(sets))


def _thinned(values: NDArray[np.floating], most: int) -> NDArray[np.floating]:
    """Return at most `most` of sorted values, evenly spread, both ends included."""
    if len(values) <= most:
        return values
    return np.asarray(values[np.linspace(0, len(values) - 1, most).astype(int)])


def _bin(scores: NDArray[np.floating], edges: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the number of the bin of each score: of the last edge that it reaches."""
    return np.maximum(np.searchsorted(edges, scores, side="right") - 1, 0)
