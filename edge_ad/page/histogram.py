"""Draw the histogram of scores: bars as high as the logarithm of their counts, marks below."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from edge_ad.page.numbers import grouped, localised
from edge_ad.page.texts import Texts
from edge_ad.store.statistics import bin_place, bin_score, score_bin
from edge_ad.store.what_if import ScoreHistory

WIDTH, HEIGHT = 900, 180
_MARGIN = 8  # bins on either side: a slider needs room beyond the scores
_MARKS = 200  # of each kind, those nearest to the threshold
_LABELS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Axis:
    """The range of scores, by the numbers of their bins; it grows with the score's logarithm."""

    low: int
    high: int

    @staticmethod
    def around(bins: Counter[int], threshold: float) -> Axis:
        """Return the axis that shows all scores, and half to twice the threshold."""
        ends = [*bins, score_bin(threshold / 2), score_bin(threshold * 2)]
        return Axis(min(ends) - _MARGIN, max(ends) + _MARGIN)

    def x(self, place: float) -> float:
        """Return where a place is drawn."""
        return round((place - self.low + 0.5) / (self.high - self.low + 1) * WIDTH, 1)


def draw_histogram(
    texts: Texts, axis: Axis, history: ScoreHistory, threshold: float
) -> dict[str, Any]:
    """Return bars, labels and marks with their places, for the template."""
    return {
        "bars": _bars(texts, axis, history.bins, score_bin(threshold)),
        "labels": _labels(texts, axis, threshold),
        "present": axis.x(bin_place(threshold)),
        "marks": [
            {"x": axis.x(bin_place(part.score)), "marked": part.marked, "seq": part.seq}
            for kind in ("false-alarm", "real")
            for part in [part for part in history.marked if part.marked == kind][:_MARKS]
        ],
        "width": WIDTH,
        "height": HEIGHT,
    }


def _bars(texts: Texts, axis: Axis, bins: Counter[int], own: int) -> list[dict[str, Any]]:
    """Return the bars; those above the threshold's `own` bin are marked."""
    highest = math.log1p(max(bins.values()))
    width = round(WIDTH / (axis.high - axis.low + 1), 1)
    bars = []
    for number, count in sorted(bins.items()):
        height = round(max(1.5, math.log1p(count) / highest * HEIGHT), 1)
        score = localised(texts, bin_score(number), 3)
        bars.append(
            {
                "x": axis.x(number - 0.5),
                "y": round(HEIGHT - height, 1),
                "width": width,
                "height": height,
                "above": number > own,
                "title": texts("histogram_bar", score=score, count=grouped(texts, count)),
            }
        )
    return bars


def _labels(texts: Texts, axis: Axis, threshold: float) -> list[dict[str, Any]]:
    """Return the labels of the axis: multiples of the threshold, or its ends."""
    if threshold <= 0:
        ends = [(axis.low, bin_score(axis.low)), (axis.high, bin_score(axis.high))]
        return [{"x": axis.x(place), "text": localised(texts, score, 3)} for place, score in ends]
    places = [(bin_place(times * threshold), times) for times in _LABELS]
    return [
        {"x": axis.x(place), "text": f"{localised(texts, times)} \u00d7"}
        for place, times in places
        if axis.low + 3 < place < axis.high - 3
    ]
