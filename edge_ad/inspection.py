"""The result of inspecting one frame: verdict, score and regions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.files import readable
from edge_ad.manifest import Score
from edge_ad.preprocess import AnomalyMap, Map


class Verdict(str, Enum):
    """The decision on one frame."""

    PASS = "PASS"
    REJECT = "REJECT"
    INVALID = "INVALID"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Region:
    """A connected anomalous area in frame pixels: its box, size, highest map value and place."""

    x: int
    y: int
    width: int
    height: int
    area_px: int
    peak: float
    peak_xy: tuple[int, int]


_TEXTS = ("source", "file", "reason", "camera")


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result for one frame, as alarms and outlets receive it.

    INVALID frames have no score (NaN) and a `reason`. `map` is float32 (H, W) in frame pixels, NaN
    where nothing is inspected. Only `Detector` fills it; on the line the map travels in `Evidence`,
    so that a kept inspection stays small. On the line, `camera` is the camera's name, `part` a
    number that no other inspection has, `time_utc` when the verdict was reached and `latency_s` how
    long it took from the trigger, else from the frame's capture, or from a file's turn.
    `missed_triggers` is how many triggers in a row got no frame or no verdict, mostly 1; then it is
    INVALID.
    """

    verdict: Verdict
    score: float
    threshold: float
    regions: tuple[Region, ...] = ()
    frame: int = 0
    source: str = ""
    file: str = ""
    reason: str = ""
    camera: str = field(default="", compare=False)
    part: int = field(default=0, compare=False)
    time_utc: str = field(default="", compare=False)
    latency_s: float = field(default=0.0, compare=False)
    missed_triggers: int = 0
    map: Map | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Make the texts fit for records: a file's name may be no Unicode."""
        for name in _TEXTS:
            text = getattr(self, name)
            if not text.isascii():
                object.__setattr__(self, name, readable(text))


def finite(score: float) -> float | None:
    """Return a score for records: None for NaN, which an INVALID frame has, and infinity."""
    return score if math.isfinite(score) else None


def find_regions(anomaly_map: AnomalyMap, level: float, *, at_most: int = 32) -> tuple[Region, ...]:
    """Return the connected areas (8 neighbours) above `level`, highest peak first, up to `at_most`.

    When nothing exceeds `level`, the result is the region at the map's maximum, so that a rejected
    frame always has one.
    """
    values = anomaly_map.values
    above = values > level
    if not above.any():
        above = values >= values.max()
    _, components, stats, _ = cv2.connectedComponentsWithStats(above.astype(np.uint8))
    labels = np.asarray(components, np.int32)
    peaks = np.full(len(stats), -np.inf, np.float32)
    np.maximum.at(peaks, labels[above], values[above])
    worst = np.argsort(-peaks, kind="stable")[: min(at_most, len(stats) - 1)]
    return tuple(_region(anomaly_map, labels, int(label), stats[label]) for label in worst)


def rescore(maps: Map, ignored: NDArray[np.bool_], score: Score) -> float:
    """Return the image score without ignored pixels: the highest score of any tile.

    maps float32 (tiles, H, W); ignored bool, same shape. Computes what the graph does (`Score`).
    """
    return max(_tile_score(values, mask, score) for values, mask in zip(maps, ignored, strict=True))


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
    """Convert one labelled component to frame pixels."""
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
