"""Report on a calibration set: duplicates, outliers, lighting, leakage, and whether it is enough.

Warnings name files. A set that can give no ranges (all black, one image repeated) is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.ranges.collect import CurvePoint
from edge_ad.calibration.ranges.image_set import ImageSummary
from edge_ad.data_split import DataSplit
from edge_ad.dedup import near_duplicates
from edge_ad.errors import DataError
from edge_ad.parts import identify
from edge_ad.wording import counted

OUTLIER = 6.0  # robust standard deviations above the median score
BLACK = 8.0  # grey levels; below, with hardly any contrast, no light reached the camera
CONVERGED = 0.02  # relative distance to its final value below which a range has converged
_LIGHT = 10.0  # grey levels outside the set's brightness before a test image counts as uncovered


@dataclass(frozen=True)
class DatasetReport:
    """Findings about a set; `warnings` are sentences, the rest are the figures behind them.

    `converged_after` is the number of images after which nine of ten ranges had converged, None
    when they had not; `drift` maps a number of images to the 90th percentile of the ranges'
    relative distance to their final values.
    """

    images: int
    unreadable: tuple[str, ...] = ()
    duplicates: tuple[tuple[str, str], ...] = ()
    outliers: tuple[str, ...] = ()
    black: tuple[str, ...] = ()
    in_test_set: tuple[tuple[str, str], ...] = ()
    uncovered_brightness: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    brightness: dict[str, float] = field(default_factory=dict)
    drift: dict[int, float] = field(default_factory=dict)
    converged_after: int | None = None
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the report with JSON keys."""
        return {**self.__dict__, "drift": {str(n): value for n, value in self.drift.items()}}


def dataset_report(
    summaries: Sequence[ImageSummary],
    curve: Sequence[CurvePoint],
    *,
    unreadable: Sequence[Path] = (),
    test: Sequence[ImageSummary] = (),
    split: DataSplit | None = None,
) -> DatasetReport:
    """Check the images of a pass and, if there are any, those of the test set.

    `split` says which images the detector was trained on: it scores those lower than others.
    Raises DataError when all images are black or the same.
    """
    check_usable(summaries)
    normal = [summary for summary in summaries if not summary.anomalous]
    report = DatasetReport(
        images=len(summaries),
        unreadable=tuple(str(path) for path in unreadable),
        duplicates=_pairs(normal, normal, within=True),
        outliers=_outliers_by_training(normal, split),
        black=tuple(str(summary.path) for summary in summaries if is_black(summary)),
        in_test_set=_pairs(normal, test, within=False),
        uncovered_brightness=_uncovered_brightness(normal, test),
        sizes=_sizes(summaries),
        brightness=_brightness(normal),
        drift=drift(curve),
        converged_after=converged_after(curve),
    )
    return DatasetReport(**{**report.__dict__, "warnings": tuple(_warnings(report))})


def check_usable(summaries: Sequence[ImageSummary]) -> None:
    """Raise DataError when no range can come from these images."""
    normal = [summary for summary in summaries if not summary.anomalous]
    if normal and all(is_black(summary) for summary in normal):
        raise DataError(
            f"all {len(summaries)} calibration images are black, the first is {normal[0].path}. "
            "Check light, lens cap and exposure, and collect them again with: edge-ad capture"
        )
    if len(normal) > 1 and _similar(normal[:1], normal).all():
        raise DataError(
            f"all {len(normal)} calibration images show the same, like {normal[0].path}. Ranges "
            "from one image would clip values of the next part; collect images of different parts."
        )


def is_black(summary: ImageSummary) -> bool:
    """Return whether no light reached the camera."""
    return summary.brightness < BLACK and summary.contrast < BLACK / 2


def drift(curve: Sequence[CurvePoint]) -> dict[int, float]:
    """Return, by number of images, how far nine of ten ranges were from their final values."""
    if not curve:
        return {}
    final = curve[-1].percentile
    return {point.images: _distance(point.percentile, final) for point in curve}


def converged_after(curve: Sequence[CurvePoint]) -> int | None:
    """Return the number of images after which ranges no longer moved; None when they still did.

    The last doubling must have changed nothing, or the end of the set proves nothing.
    """
    distances = drift(curve)
    converged = None
    for images in sorted(distances, reverse=True):
        if distances[images] > CONVERGED:
            break
        converged = images
    return converged if converged is not None and converged < max(distances) else None


def _distance(now: dict[str, float], final: dict[str, float]) -> float:
    gaps = [abs(now.get(name, 0.0) - end) / end for name, end in final.items()]
    return float(np.quantile(gaps, 0.9)) if gaps else 0.0


def _similar(some: Sequence[ImageSummary], others: Sequence[ImageSummary]) -> NDArray[np.bool_]:
    return near_duplicates(*(np.array([s.thumbnail for s in side]) for side in (some, others)))


def _pairs(
    some: Sequence[ImageSummary], others: Sequence[ImageSummary], *, within: bool
) -> tuple[tuple[str, str], ...]:
    similar = _similar(some, others)
    if within:
        similar = np.triu(similar, 1)
    return tuple((str(some[i].path), str(others[j].path)) for i, j in np.argwhere(similar))


def _outliers_by_training(
    summaries: Sequence[ImageSummary], split: DataSplit | None
) -> tuple[str, ...]:
    """Return the outliers among the images trained on, and among the others."""
    trained: list[ImageSummary] = []
    others: list[ImageSummary] = []
    for summary in summaries:
        seen = split is not None and split.trained.has_image(*identify(summary.path))
        (trained if seen else others).append(summary)
    return (*_outliers(trained), *_outliers(others))


def _outliers(summaries: Sequence[ImageSummary]) -> tuple[str, ...]:
    """Return the images whose score lies far above the others': perhaps anomalous parts."""
    if not summaries:  # all have synthetic anomalies
        return ()
    scores = np.array([summary.score for summary in summaries])
    middle = np.median(scores)
    spread = 1.4826 * np.median(np.abs(scores - middle))  # equals sigma for a normal distribution
    far = scores > middle + OUTLIER * max(spread, 1e-6 * abs(middle), 1e-12)
    return tuple(str(summaries[i].path) for i in np.argsort(-scores) if far[i])


def _uncovered_brightness(
    summaries: Sequence[ImageSummary], test: Sequence[ImageSummary]
) -> tuple[str, ...]:
    if not summaries:
        return ()
    levels = [summary.brightness for summary in summaries]
    low, high = min(levels) - _LIGHT, max(levels) + _LIGHT
    return tuple(str(summary.path) for summary in test if not low <= summary.brightness <= high)


def _sizes(summaries: Sequence[ImageSummary]) -> dict[str, int]:
    return dict(Counter(f"{summary.size_hw[1]}x{summary.size_hw[0]}" for summary in summaries))


def _brightness(summaries: Sequence[ImageSummary]) -> dict[str, float]:
    shares = {"min": 0.0, "p5": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}
    levels = [summary.brightness for summary in summaries]
    if not levels:
        return {}
    return {name: round(float(np.quantile(levels, share)), 2) for name, share in shares.items()}


def _warnings(report: DatasetReport) -> list[str]:
    findings = [
        (report.unreadable, "cannot be read and were left out"),
        ([copy for _, copy in report.duplicates], "near-duplicates of others, which add nothing"),
        (report.outliers, "score far above the others and may be anomalous: check them"),
        (report.black, "black"),
        ([path for path, _ in report.in_test_set], "also in the test set, which flatters int8"),
        (report.uncovered_brightness, "in the test set, darker or brighter than all of these"),
    ]
    lines = [
        f"{counted(len(set(names)), 'image')} {finding}: {_some(names)}"
        for names, finding in findings
        if names
    ]
    if report.converged_after is None:
        lines.append(
            f"ranges had not converged after {report.images} images (the last doubling moved one "
            f"in ten by {100 * _last_drift(report.drift):.1f} % or more): collect more"
        )
    return lines


def _last_drift(distances: dict[int, float]) -> float:
    before = [value for _, value in sorted(distances.items())][:-1]
    return before[-1] if before else 1.0


def _some(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return ", ".join(distinct[:3]) + (", ..." if len(distinct) > 3 else "")
