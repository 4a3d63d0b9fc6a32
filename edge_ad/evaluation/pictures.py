"""Curves and the sheet of worst misses, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from edge_ad.evaluation.judged import Judged
from edge_ad.evaluation.metrics import Floats, pro_curve
from edge_ad.evaluation.summary import pixels_of
from edge_ad.files import replacing
from edge_ad.frame import Image
from edge_ad.images import read_image, write_image

_SIDE, _GAP = 192, 4
_CURVE_POINTS = 2000


def write_curves(judged: Sequence[Judged], path: Path) -> None:
    """Image ROC, pixel precision over recall, and region overlap over false positives, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    roc, pr, pro = figure.subplots(1, 3)
    anomalous = [one.sample.anomalous for one in judged]
    if any(anomalous) and not all(anomalous):
        rate, found, _ = roc_curve(anomalous, [one.score for one in judged])
        roc.plot(rate, found)
    if (pixels := pixels_of(judged)) is not None:
        precision, recall, _ = precision_recall_curve(pixels.anomalous, pixels.scores)
        pr.plot(*_thinned(recall, precision))
        pro.plot(*_thinned(*pro_curve(pixels)))
        pro.axvspan(0, 0.3, alpha=0.1)
    for axes, title, x, y in (
        (roc, "images", "normal rejected", "anomalous rejected"),
        (pr, "pixels", "recall", "precision"),
        (pro, "regions", "normal pixels above threshold", "mean region overlap"),
    ):
        axes.set(title=title, xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.01))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def worst_misses(judged: Sequence[Judged], count: int = 6) -> list[Judged]:
    """The anomalous pictures with the lowest scores, then the normal ones with the highest."""
    escapes = sorted((j for j in judged if j.sample.anomalous), key=lambda j: j.score)
    overkill = sorted((j for j in judged if not j.sample.anomalous), key=lambda j: -j.score)
    return escapes[:count] + overkill[:count]


def write_misses(judged: Sequence[Judged], path: Path) -> None:
    """A row a picture: the picture, its map (one scale for all), its ground truth, its score."""
    chosen = worst_misses(judged)
    top = max(float(one.values.max()) for one in judged)
    low = min(float(np.median(one.values)) for one in judged)
    write_image(path, np.vstack([_row(one, low, top) for one in chosen]))


def _row(one: Judged, low: float, top: float) -> Image:
    level = np.clip((one.values - low) / max(top - low, 1e-12), 0, 1)
    heat = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_JET)
    truth = np.zeros((*one.values.shape, 3), np.uint8)
    truth[one.mask if one.mask is not None else False] = 255
    panels = [_square(panel) for panel in (read_image(one.sample.path), heat, truth)]
    words = np.full((_SIDE, 2 * _SIDE, 3), 32, np.uint8)
    lines = ("ESCAPE" if one.sample.anomalous else "OVERKILL", one.sample.kind,
             one.sample.path.name, f"score {one.score:.4g}")  # fmt: skip
    for index, text in enumerate(lines):
        place = (10, 40 + 30 * index)
        cv2.putText(words, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
    row = np.hstack([*panels, words])
    framed = cv2.copyMakeBorder(row, 0, _GAP, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return np.asarray(framed, np.uint8)


def _square(image: Image) -> Image:
    return np.asarray(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """A curve of millions of points, drawn with those a screen can show."""
    step = max(1, len(x) // _CURVE_POINTS)
    return x[::step], y[::step]
