"""A calibration set looked at: copies, odd images, light, leakage, and whether it is enough.

Warnings name files. A set that can give no ranges (all black, one image repeated) is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_ad.calibration.ranges.collect import CurvePoint
from edge_ad.calibration.ranges.thumbnail import Thumbnail, alike
from edge_ad.errors import DataError

ODD = 6.0  # robust standard deviations above the median score
BLACK = 8.0  # grey levels; below, with hardly any spread, no light reached the camera
SETTLED = 0.02  # a range that is this near its final value has settled
_LIGHT = 10.0  # grey levels outside the set's brightness before a test image counts as uncovered


@dataclass(frozen=True)
class DatasetReport:
    """Findings about a set; `warnings` are sentences, the rest are the figures behind them.

    `enough` is the number of images after which nine of ten ranges had settled, None when they
    had not; `drift` is by number of images the 90th percentile of the ranges' distance to their
    final values.
    """

    images: int
    unreadable: tuple[str, ...] = ()
    duplicates: tuple[tuple[str, str], ...] = ()
    odd: tuple[str, ...] = ()
    black: tuple[str, ...] = ()
    leaked: tuple[tuple[str, str], ...] = ()
    unlit: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    brightness: dict[str, float] = field(default_factory=dict)
    drift: dict[int, float] = field(default_factory=dict)
    enough: int | None = None
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {**self.__dict__, "drift": {str(n): value for n, value in self.drift.items()}}


def dataset_report(
    views: Sequence[Thumbnail],
    curve: Sequence[CurvePoint],
    *,
    unreadable: Sequence[Path] = (),
    test: Sequence[Thumbnail] = (),
) -> DatasetReport:
    """Look at the images of a pass and, if there are any, at those of the test set.

    Raises DataError when all images are black or the same.
    """
    check_usable(views)
    clean = [view for view in views if not view.damaged]
    found = DatasetReport(
        images=len(views),
        unreadable=tuple(str(path) for path in unreadable),
        duplicates=_pairs(clean, clean, within=True),
        odd=_odd(clean),
        black=tuple(str(view.path) for view in views if is_black(view)),
        leaked=_pairs(clean, test, within=False),
        unlit=_unlit(clean, test),
        sizes=_sizes(views),
        brightness=_brightness(clean),
        drift=drift(curve),
        enough=enough(curve),
    )
    return DatasetReport(**{**found.__dict__, "warnings": tuple(_warnings(found))})


def check_usable(views: Sequence[Thumbnail]) -> None:
    """Raise DataError when no range can come from these images."""
    same = [view for view in views if not view.damaged]
    if same and all(is_black(view) for view in same):
        raise DataError(
            f"all {len(views)} calibration images are black, the first is {same[0].path}. "
            "Check light, lens cap and exposure, and collect them again with: edge-ad capture"
        )
    if len(same) > 1 and alike(same[:1], same).all():
        raise DataError(
            f"all {len(same)} calibration images show the same, like {same[0].path}. Ranges from "
            "one image clip what the next part shows; collect images of different parts."
        )


def is_black(view: Thumbnail) -> bool:
    return view.brightness < BLACK and view.spread < BLACK / 2


def drift(curve: Sequence[CurvePoint]) -> dict[int, float]:
    """By number of images, how far nine of ten ranges are from where they ended, relatively."""
    if not curve:
        return {}
    final = curve[-1].percentile
    return {point.images: _distance(point.percentile, final) for point in curve}


def enough(curve: Sequence[CurvePoint]) -> int | None:
    """The number of images from which on ranges moved no more; None when they still did.

    The last doubling must have changed nothing, or the set's end proves nothing.
    """
    found = drift(curve)
    settled = None
    for images in sorted(found, reverse=True):
        if found[images] > SETTLED:
            break
        settled = images
    return settled if settled is not None and settled < max(found) else None


def _distance(now: dict[str, float], final: dict[str, float]) -> float:
    gaps = [abs(now.get(name, 0.0) - end) / end for name, end in final.items()]
    return float(np.quantile(gaps, 0.9)) if gaps else 0.0


def _pairs(
    some: Sequence[Thumbnail], others: Sequence[Thumbnail], *, within: bool
) -> tuple[tuple[str, str], ...]:
    same = alike(some, others)
    if within:
        same = np.triu(same, 1)
    return tuple((str(some[i].path), str(others[j].path)) for i, j in np.argwhere(same))


def _odd(views: Sequence[Thumbnail]) -> tuple[str, ...]:
    """Images whose score lies far above the others': perhaps parts that are not good."""
    scores = np.array([view.score for view in views])
    middle = np.median(scores)
    spread = 1.4826 * np.median(np.abs(scores - middle))  # equals sigma for a normal distribution
    far = scores > middle + ODD * max(spread, 1e-6 * abs(middle), 1e-12)
    order = np.argsort(-scores)
    return tuple(str(views[i].path) for i in order if far[i])


def _unlit(views: Sequence[Thumbnail], test: Sequence[Thumbnail]) -> tuple[str, ...]:
    light = [view.brightness for view in views]
    low, high = min(light) - _LIGHT, max(light) + _LIGHT
    return tuple(str(view.path) for view in test if not low <= view.brightness <= high)


def _sizes(views: Sequence[Thumbnail]) -> dict[str, int]:
    found: dict[str, int] = {}
    for view in views:
        name = f"{view.size_hw[1]}x{view.size_hw[0]}"
        found[name] = found.get(name, 0) + 1
    return found


def _brightness(views: Sequence[Thumbnail]) -> dict[str, float]:
    shares = {"least": 0.0, "p5": 0.05, "median": 0.5, "p95": 0.95, "most": 1.0}
    light = [view.brightness for view in views]
    return {name: round(float(np.quantile(light, share)), 2) for name, share in shares.items()}


def _warnings(found: DatasetReport) -> list[str]:
    told = [
        (found.unreadable, "cannot be read, left out"),
        ([b for _, b in found.duplicates], "near-copies of others, which add nothing"),
        (found.odd, "far above the others in score, perhaps defective: look at them"),
        (found.black, "black"),
        ([a for a, _ in found.leaked], "in the test set too, which flatters int8"),
        (found.unlit, "in the test set, darker or brighter than any calibration image"),
    ]
    lines = [f"{_count(names)} {what}: {_some(names)}" for names, what in told if names]
    if found.enough is None:
        lines.append(
            f"ranges had not settled after {found.images} images (the last doubling moved one "
            f"in ten by {100 * _last_move(found.drift):.1f} % or more): collect more"
        )
    return lines


def _last_move(found: dict[int, float]) -> float:
    before = [value for images, value in sorted(found.items())][:-1]
    return before[-1] if before else 1.0


def _count(names: Sequence[str]) -> str:
    distinct = len(set(names))
    return f"{distinct} image{'s' if distinct > 1 else ''}"


def _some(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return ", ".join(distinct[:3]) + (", ..." if len(distinct) > 3 else "")
