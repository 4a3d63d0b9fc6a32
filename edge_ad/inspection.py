"""A map and a score become a verdict with regions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.manifest import Score
from edge_ad.preprocess import AnomalyMap, Map


class Verdict(str, Enum):
    """Our decision on one frame."""

    PASS = "PASS"
    REJECT = "REJECT"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True)
class Region:
    """One connected defect in frame pixels: bounding box, area, highest map value and its place."""

    x: int
    y: int
    width: int
    height: int
    area_px: int
    peak: float
    peak_xy: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one frame was found to be; the only record alarms and sinks see.

    INVALID frames have no score (NaN) and say why in `reason`.
    """

    frame: int
    source: str
    score: float
    threshold: float
    verdict: Verdict
    regions: tuple[Region, ...] = ()
    reason: str = ""
    file: str = ""


def find_regions(anomaly_map: AnomalyMap, level: float, *, at_most: int = 32) -> tuple[Region, ...]:
    """Connected areas (8 neighbours) above `level`, highest peak first, no more than `at_most`.

    When nothing exceeds `level`, the region at the map's maximum is returned, so that a rejected
    frame always says where to look.
    """
    values = anomaly_map.values
    above = values > level
    if not above.any():
        above = values >= values.max()
    _, found, stats, _ = cv2.connectedComponentsWithStats(above.astype(np.uint8))
    labels = np.asarray(found, np.int32)
    peaks = np.full(len(stats), -np.inf, np.float32)
    np.maximum.at(peaks, labels[above], values[above])
    worst = np.argsort(-peaks, kind="stable")[: min(at_most, len(stats) - 1)]
    return tuple(_region(anomaly_map, labels, int(label), stats[label]) for label in worst)


def rescore(maps: Map, ignored: NDArray[np.bool_], score: Score) -> float:
    """The image score without ignored pixels: the highest of the tiles' own scores.

    maps float32 (tiles, H, W); ignored bool, same shape. Repeats what the graph does (`Score`).
    """
    return max(_tile_score(values, out, score) for values, out in zip(maps, ignored, strict=True))


def _tile_score(values: Map, ignored: NDArray[np.bool_], score: Score) -> float:
    if score.mean_filter_px > 1:
        side = (score.mean_filter_px, score.mean_filter_px)
        blurred = cv2.blur(values, side, borderType=cv2.BORDER_CONSTANT)  # zero padding counts
        values = np.asarray(blurred, np.float32)
    kept = values[~ignored]
    if not kept.size:
        return float("-inf")
    count = min(score.top_k, kept.size)
    return float(np.partition(kept, -count)[-count:].mean())


def _region(
    anomaly_map: AnomalyMap, labels: NDArray[Any], label: int, stats: NDArray[Any]
) -> Region:
    """Translate one labelled component to frame pixels."""
    left, top, width, height, area = (int(value) for value in stats)
    window = np.s_[top : top + height, left : left + width]
    inside = np.where(labels[window] == label, anomaly_map.values[window], -np.inf)
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    (x0, y0), (sx, sy) = anomaly_map.origin_xy, anomaly_map.scale_xy
    return Region(
        x=round(x0 + left * sx),
        y=round(y0 + top * sy),
        width=max(1, round(width * sx)),
        height=max(1, round(height * sy)),
        area_px=max(1, round(area * sx * sy)),
        peak=float(inside[row, column]),
        peak_xy=(round(x0 + (left + column + 0.5) * sx), round(y0 + (top + row + 0.5) * sy)),
    )
