"""Plots of an evaluation on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_ad.dataset import NORMAL
from edge_ad.evaluation.curves import Curve
from edge_ad.evaluation.metrics import FPR_LIMIT
from edge_ad.evaluation.predictions import ScoredImage
from edge_ad.evaluation.ranking import roc_points
from edge_ad.evaluation.summary import defect_types
from edge_ad.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 40


def write_curves(
    scored: Sequence[ScoredImage], curves: dict[str, Curve], threshold: float | None, path: Path
) -> None:
    """Write a PNG: image ROC by defect type, scores, pixel ROC and PRO, pixel precision-recall."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9), layout="constrained")
    images, scores, regions, pixels = figure.subplots(2, 2).flat
    _draw_image_roc(images, scored)
    _draw_scores(scores, scored, threshold)
    _draw(regions, curves, {"pro": "mean region overlap", "pixel_roc": "pixel recall"})
    _draw(pixels, curves, {"pixel_pr": "precision"})
    regions.axvspan(0, FPR_LIMIT, alpha=0.1)
    regions.set(title="pixels above the threshold", xlabel="share of normal pixels")
    pixels.set(title="pixels: precision over recall", xlabel="recall", ylabel="precision")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _draw_image_roc(axes: Axes, scored: Sequence[ScoredImage]) -> None:
    for kind in ["all", *defect_types(scored)]:
        shown = [item for item in scored if kind == "all" or item.sample.kind in (NORMAL, kind)]
        normal, anomalous = (
            np.array([item.score for item in shown if item.sample.anomalous is label])
            for label in (False, True)
        )
        if len(normal) and len(anomalous):
            style = {"color": "black", "linewidth": 2} if kind == "all" else {"linewidth": 1}
            axes.plot(*roc_points(normal, anomalous), label=kind, **style)
    axes.set(title="images: ROC", xlabel="normal rejected", ylabel="anomalous rejected")
    _frame(axes)


def _draw_scores(axes: Axes, scored: Sequence[ScoredImage], threshold: float | None) -> None:
    scores = np.array([item.score for item in scored])
    anomalous = np.array([item.sample.anomalous for item in scored])
    bins = np.histogram_bin_edges(scores, _BINS).tolist()
    axes.hist(scores[~anomalous], bins, alpha=0.6, label="normal", color="tab:green")
    axes.hist(scores[anomalous], bins, alpha=0.6, label="anomalous", color="tab:red")
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.4g}")
    axes.set(title="image scores", xlabel="anomaly score", ylabel="images")
    axes.legend()


def _draw(axes: Axes, curves: dict[str, Curve], labels: dict[str, str]) -> None:
    for name, label in labels.items():
        if name in curves:
            axes.plot(*curves[name], label=label)
    _frame(axes)


def _frame(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
