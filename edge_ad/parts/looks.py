"""Find the images that show the same part from what they show.

Two images belong together when their surfaces agree far more than those of two random images of the
folder do: products of one design agree everywhere that the design has edges and print, so each
cell of the image counts by how far it exceeds what random pairs share there. Images are joined pair
by pair, most similar first, and two groups only when images on both sides agree: a chain of images,
each like the next, is not a part. Only where most images resemble the one before, as frames of a
recording do, such a chain counts as one part: too few parts are safer than too many.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image
from edge_ad.parts.candidates import Relief, correlations, grid, similar_pairs
from edge_ad.parts.comparison import DETAIL_SIDE, Agreement, Detail, agreement, detail
from edge_ad.parts.joining import Groups
from edge_ad.parts.recognition import Recognition, SecondExposures

_RANDOM_PAIRS, _SEED = 300, 0  # the same folder gives the same parts
_UNRELATED = 0.4  # quantile of random pairs: below it none shows one part, even if two parts exist
_SAME = 0.68  # excess agreement of two images of one part; measured, see docs/guides/parts.md
_ACROSS, _CROSS = 0.5, 3  # median of 3 x 3 pairs across two groups, in shares of the threshold
_ALIKE = 0.75  # of three quarters of random pairs: images of one part agree so, others 0.1 to 0.6
_RECORDED = 0.5  # correlation of successive images: 0.6 to 1 in recordings, 0.1 to 0.4 of parts
_SURFACE = 0.55  # their agreement: 0.7 to 1 there, 0.1 to 0.4 of parts that look different
_FEWEST = 8  # successive images that decide whether a folder is a recording

Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Grouping:
    """Group numbers of images, numbered by first image.

    `alike`: random images agree as images of one part do, so nothing tells parts apart and all
    images are one group. `recorded`: successive images resemble each other as frames of a recording
    do, and are one group for as long as they do. `recognition` says whether a group can be relied
    on to have all images of its part; None where that was not tried.
    """

    groups: list[int]
    alike: bool = False
    recorded: bool = False
    recognition: Recognition | None = None


class Looks:
    """Collects what images look like; `group` decides which show the same part.

    An image takes 40 KiB. `scale` must be that of `scale_for`, for all `images` alike.
    """

    def __init__(self, scale: float, images: int) -> None:
        self._scale = scale
        self._grids: list[Relief] = []
        self._details: list[Detail] = []
        self._exposures = SecondExposures(scale, images)

    def add(self, image: Image) -> None:
        """Add an image uint8 (H, W, 3)."""
        self._grids.append(grid(image))
        self._details.append(detail(image, self._scale))
        self._exposures.add(image)

    def group(self, known: Iterable[Pair] = ()) -> Grouping:
        """Group the images; pairs of `known` indices are of one part in any case."""
        count = len(self._grids)
        groups = Groups(count, known)
        if count < 2:
            return Grouping(groups.numbers())
        pairs = _Pairs(self._details)
        random = pairs.agreements(_random_pairs(count))
        if np.quantile(_mean(random), 0.25) >= _ALIKE:
            return Grouping([0] * count, alike=True)
        pairs.common = _quantile(random)
        _join(groups, pairs, similar_pairs(self._grids))
        recorded = _join_recorded(groups, pairs, self._grids)
        recognition = self._exposures.recognition(lambda cells: pairs.excess(cells) >= _SAME)
        return Grouping(groups.numbers(), recorded=recorded, recognition=recognition)


def scale_for(sizes: Sequence[tuple[int, int]]) -> float:
    """Return the scale at which a usual image of sizes (H, W) has a longer side of 192 px."""
    return DETAIL_SIDE / float(np.median([max(size) for size in sizes]))


class _Pairs:
    """Compares images in threads; `common` is what unrelated images share in each cell."""

    def __init__(self, details: Sequence[Detail]) -> None:
        self._details = details
        self.common: Agreement = np.zeros(0, np.float32)
        self._compared: dict[Pair, Agreement] = {}

    def agreements(self, pairs: Sequence[Pair]) -> Agreement:
        """Return the agreement (n, cells) of pairs of images; each pair is compared once."""
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._compared]
        self._compared |= zip(new, self._compare(new), strict=True)
        return np.stack([self._compared[pair] for pair in pairs])

    def _compare(self, pairs: Sequence[Pair]) -> list[Agreement]:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # the pairs are spread over the cores, not the rows of a patch
        try:
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                return list(pool.map(self._agreement, pairs))
        finally:
            cv2.setNumThreads(threads)

    def excess(self, agreements: Agreement) -> NDArray[np.float32]:
        """Return how far agreements (n, cells) exceed that of unrelated images, (n,), 0..1.

        It is a share of what is left to exceed: cells that all images share count little.
        """
        possible = np.where(np.isnan(agreements), 0, 1.05 - self.common)  # 1.05: never all 0
        excess = np.nan_to_num(np.clip(agreements - self.common, 0, None))
        return np.asarray(excess.sum(1) / np.maximum(possible.sum(1), 1e-6), np.float32)

    def scores(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the excess of pairs (n,)."""
        return self.excess(self.agreements(pairs))

    def _agreement(self, pair: Pair) -> Agreement:
        return agreement(self._details[pair[0]], self._details[pair[1]])


def _join(groups: Groups, pairs: _Pairs, similar: Sequence[Pair]) -> None:
    scores = pairs.scores(similar)
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] < _SAME:
            return
        first, second = groups.members(similar[index][0]), groups.members(similar[index][1])
        if first is second:
            continue
        across = [(min(i, j), max(i, j)) for i in _spread(first) for j in _spread(second)]
        if np.median(pairs.scores(across)) >= _ACROSS * _SAME:
            groups.join(*similar[index])


def _join_recorded(groups: Groups, pairs: _Pairs, grids: Sequence[Relief]) -> bool:
    """Join successive images that look alike, if most of those that are not joined yet do.

    Images of one variant of a product, taken one after the other, are alike in the large; frames
    of a recording are in the surface, too.
    """
    apart = [(index, index + 1) for index in range(len(grids) - 1)
             if groups.members(index) is not groups.members(index + 1)]  # fmt: skip
    if len(apart) < _FEWEST:
        return False
    alike = correlations(grids, apart)
    if np.median(alike) < _RECORDED or np.median(_mean(pairs.agreements(apart))) < _SURFACE:
        return False
    for place in np.flatnonzero(alike >= _RECORDED):
        groups.join(*apart[place])
    return True


def _spread(members: Sequence[int]) -> list[int]:
    """Return up to three members: first, middle and last."""
    picks = np.linspace(0, len(members) - 1, min(_CROSS, len(members))).round().astype(int)
    ordered = sorted(members)
    return [ordered[pick] for pick in picks]


def _random_pairs(count: int) -> list[Pair]:
    if count * (count - 1) // 2 <= _RANDOM_PAIRS:
        return list(combinations(range(count), 2))
    draws = np.random.default_rng(_SEED).integers(0, count, (2 * _RANDOM_PAIRS, 2))
    return [(int(i), int(j)) for i, j in draws if i != j][:_RANDOM_PAIRS]


def _mean(agreements: Agreement) -> NDArray[np.float32]:
    """Return the mean over cells that have one; 0 where none has."""
    count = (~np.isnan(agreements)).sum(1)
    return np.asarray(np.nansum(agreements, 1) / np.maximum(count, 1), np.float32)


def _quantile(random: Agreement) -> Agreement:
    """Return what unrelated images share in each cell; 0 in cells without a patch."""
    empty = np.isnan(random).all(0)
    filled = np.where(empty, 0, random)
    return np.asarray(np.nanquantile(filled, _UNRELATED, axis=0), np.float32)
