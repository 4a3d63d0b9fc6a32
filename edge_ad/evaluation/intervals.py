"""Intervals of metrics by a bootstrap over parts.

Images of one part are not independent, so whole parts are drawn, with repetition, as many as there
are (the cluster bootstrap; Davison and Hinkley, "Bootstrap Methods", 1997, section 3.8). Parts with
normal, with anomalous and with both kinds of images are drawn separately, so every draw has both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.dataset import NORMAL
from edge_ad.evaluation.histograms import Floats, Histograms, image_histograms, pixel_histograms
from edge_ad.evaluation.metrics import FPR_LIMIT
from edge_ad.evaluation.predictions import ScoredImage

DRAWS, LEVEL, SEED = 1000, 0.95, 0
PIXEL_METRICS = ("pixel_auroc", "pixel_ap", "aupro", "iap", "iap90")
Interval = list[float]
_ROWS = 25  # draws at once: their arrays stay in a cache


def add_intervals(
    result: dict[str, Any], scored: Sequence[ScoredImage], parts: Sequence[str]
) -> None:
    """Add `intervals` to a report's figures, overall and by type; `parts` names those of `scored`.

    An interval holds 95 % of 1000 draws. It is None where the metric is undefined, or where fewer
    than two parts have normal or have anomalous images. The same images give the same intervals.
    """
    groups = _Groups(scored, parts)
    overall, kinds = groups.intervals(None), result["by_type"]
    result["intervals"] = overall
    for kind, figures in kinds.items():  # a type alone has the images of all
        figures["intervals"] = groups.intervals(kind) if len(kinds) > 1 else dict(overall)


class _Groups:
    """Images grouped by part and type, each with its counts."""

    def __init__(self, scored: Sequence[ScoredImage], parts: Sequence[str]) -> None:
        pairs = [(part, item.sample.kind) for part, item in zip(parts, scored, strict=True)]
        groups = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
        number = np.array([groups[pair] for pair in pairs])
        self._kinds = np.array([kind for _, kind in groups])
        names = {part: number for number, part in enumerate(dict.fromkeys(parts))}
        self._part = np.array([names[part] for part, _ in groups])
        self._images = image_histograms(scored, number)
        self._pixels = pixel_histograms(scored, number)

    def intervals(self, kind: str | None) -> dict[str, Interval | None]:
        """Return the intervals over the images of a type and the normal ones, or over all."""
        every = np.arange(len(self._kinds))
        chosen = every if kind is None else np.flatnonzero(np.isin(self._kinds, (NORMAL, kind)))
        result: dict[str, Interval | None] = dict.fromkeys(("image_auroc", *PIXEL_METRICS))
        times = _draw(self._kinds[chosen] != NORMAL, self._part[chosen])
        if times is None:
            return result
        result["image_auroc"] = _interval(auroc(self._images.of(chosen).drawn(times)))
        if self._pixels is None:
            return result
        drawn = self._pixels.of(chosen).drawn(times)
        values = np.hstack([_pixel_metrics(rows) for rows in drawn.rows(_ROWS)])
        intervals = [_interval(one) for one in values]
        return result | dict(zip(PIXEL_METRICS, intervals, strict=True))


def _pixel_metrics(drawn: Histograms) -> Floats:
    """Return the pixel metrics (metrics, draws) in their order."""
    return np.stack(
        [auroc(drawn), average_precision(drawn), aupro(drawn), *instance_precision(drawn)]
    )


def _draw(anomalous: NDArray[np.bool_], part: NDArray[np.intp]) -> NDArray[np.int64] | None:
    """Return how often each draw has each group (draws, groups), those of a part alike.

    None for too few parts.
    """
    count = int(part.max()) + 1
    has_normal, has_anomalous = np.zeros((2, count), np.bool_)
    has_normal[part[~anomalous]] = True
    has_anomalous[part[anomalous]] = True
    if min(has_normal.sum(), has_anomalous.sum()) < 2:
        return None
    rng = np.random.default_rng(SEED)
    times = np.zeros((DRAWS, count), np.int64)
    for stratum in (
        has_normal & ~has_anomalous,
        has_anomalous & ~has_normal,
        has_normal & has_anomalous,
    ):
        members = np.flatnonzero(stratum)
        if len(members):
            even = np.full(len(members), 1 / len(members))
            times[:, members] = rng.multinomial(len(members), even, DRAWS)
    return times[:, part]


def _interval(values: Floats) -> Interval | None:
    """Return the interval of the draws in which the metric is defined."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return [float(low), float(high)]


def auroc(drawn: Histograms) -> Floats:
    """Return the AUROC of each draw; ties within a bin count half."""
    below = np.cumsum(drawn.normal, axis=1) - drawn.normal / 2
    return _ratio((drawn.anomalous * below).sum(1), drawn.anomalous.sum(1) * drawn.normal.sum(1))


def average_precision(drawn: Histograms) -> Floats:
    """Return the average precision of each draw."""
    precision = np.where(drawn.anomalous > 0, _precision(drawn), 0.0)  # NaN above all scores
    return _ratio((drawn.anomalous * precision).sum(1), drawn.anomalous.sum(1))


def aupro(drawn: Histograms, limit: float = FPR_LIMIT) -> Floats:
    """Return the area under the region-overlap curve up to the false-positive rate `limit`."""
    x = _ratio(_from_top(drawn.normal), drawn.normal.sum(1, keepdims=True))[:, ::-1]
    y = _ratio(_from_top(drawn.overlap), drawn.critical.sum(1, keepdims=True))[:, ::-1]
    start = np.zeros((len(x), 1))
    x, y = np.hstack([start, x]), np.hstack([start, y])
    left, right = np.minimum(x[:, :-1], limit), np.minimum(x[:, 1:], limit)
    slope = np.divide(np.diff(y), np.diff(x), out=np.zeros_like(left), where=np.diff(x) > 0)
    middle = y[:, :-1] + slope * ((left + right) / 2 - x[:, :-1])
    return np.asarray((middle * (right - left)).sum(1) / limit)


def instance_precision(drawn: Histograms) -> tuple[Floats, Floats]:
    """Return the instance average precision, and the precision at a recall of 0.9, of each draw."""
    defects = drawn.critical.sum(1)
    at_critical = np.where(drawn.critical > 0, _precision(drawn), 0.0)
    interpolated = np.maximum.accumulate(at_critical, axis=1)
    mean = _ratio((drawn.critical * interpolated).sum(1), defects)
    recall = _ratio(_from_top(drawn.critical), defects[:, None])
    last = drawn.critical.shape[1] - 1 - (recall >= 0.9 - 1e-9)[:, ::-1].argmax(1)
    at_90 = np.where(defects > 0, interpolated[np.arange(len(last)), last], np.nan)
    return mean, at_90


def _precision(drawn: Histograms) -> Floats:
    hits = _from_top(drawn.anomalous)
    return _ratio(hits, hits + _from_top(drawn.normal))


def _from_top(counts: Floats) -> Floats:
    """Return how many reach each bin or a higher one."""
    return np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]


def _ratio(above: Floats, below: Floats) -> Floats:
    """Divide; NaN where there is nothing to divide by."""
    result = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result
