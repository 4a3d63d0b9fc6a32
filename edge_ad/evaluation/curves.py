"""ROC, precision-recall and region-overlap curves, at every distinct threshold."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.pixels import Pixels

Floats = NDArray[np.float64]


class Curve(NamedTuple):
    """Points (n,), from the highest threshold to the lowest."""

    x: Floats
    y: Floats


def roc(pixels: Pixels) -> Curve:
    """Return pixel recall over the share of normal pixels above the threshold."""
    hits = np.cumsum(pixels.anomalous[::-1])
    return _over_normal(pixels, hits / max(1, int(pixels.anomalous.sum())))


def region_overlap(pixels: Pixels) -> Curve:
    """Return the mean per-region overlap (PRO) over the share of normal pixels above."""
    return _over_normal(pixels, np.cumsum(pixels.overlap[::-1]))


def precision_recall(pixels: Pixels) -> Curve:
    """Return pixel precision over pixel recall."""
    hits = np.cumsum(pixels.anomalous[::-1])
    return Curve(hits / max(1, int(pixels.anomalous.sum())), precision(pixels)[::-1])


def precision(pixels: Pixels) -> Floats:
    """Return pixel precision (d,) with the threshold at each of `pixels.values`."""
    hits = np.cumsum(pixels.anomalous[::-1])[::-1]
    return np.asarray(hits / (hits + pixels.normal_from), np.float64)


def clip_curve(curve: Curve, limit: float) -> Curve:
    """Cut a curve at x = `limit`; its last y is interpolated."""
    inside = curve.x <= limit
    if inside.all():
        return curve
    end = int(inside.argmin())  # the first point beyond
    around = np.s_[end - 1 : end + 1]
    height = np.interp(limit, curve.x[around], curve.y[around])
    return Curve(np.append(curve.x[:end], limit), np.append(curve.y[:end], height))


def thin(curve: Curve, most: int = 400) -> Curve:
    """Return about `most` points, evenly spread along the drawn curve; both ends are kept."""
    if len(curve.x) <= most:
        return curve
    length = np.cumsum(np.abs(np.diff(curve.x, prepend=0)) + np.abs(np.diff(curve.y, prepend=0)))
    near = np.searchsorted(length, np.linspace(length[0], length[-1], most))
    kept = np.union1d(near.clip(0, len(length) - 1), [0, len(length) - 1])
    return Curve(curve.x[kept], curve.y[kept])


def _over_normal(pixels: Pixels, reached: Floats) -> Curve:
    """Return y values over the share of normal pixels above a falling threshold.

    Between two anomalous scores only normal pixels are passed, so the curve is level there; ties
    of normal and anomalous pixels make a slope.
    """
    x, y = np.zeros((2, 2 * len(reached) + 2))
    x[1:-1:2] = pixels.normal_above[::-1] / max(1, pixels.normal)
    x[2:-1:2] = pixels.normal_from[::-1] / max(1, pixels.normal)
    y[3:-1:2], y[2:-1:2] = reached[:-1], reached
    x[-1], y[-1] = 1, 1
    return Curve(x, y)
