"""Plot the scores behind a threshold, and what every other threshold would cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_ad.calibration.thresholds.anomalies import AnomalyScores
from edge_ad.calibration.thresholds.scores import PartScores, Scores
from edge_ad.files import replacing
from edge_ad.manifest import Threshold

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 40
_WRAP = 110  # characters of the title's lines


def write_plot(
    path: Path,
    parts: PartScores,
    anomalies: AnomalyScores | None,
    threshold: Threshold | None,
    refusal: str = "",
) -> None:
    """Write a PNG: normal and anomalous scores, map maxima, and escapes over false alarms.

    Without a threshold, `refusal` says above the panels why there is none. Raises OSError.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.8), layout="constrained")
    images, pixels, cost = figure.subplots(1, 3)
    image, pixel = (threshold.image, threshold.pixel) if threshold else (None, None)
    _draw_scores(images, parts.image, anomalies.image if anomalies else [], image)
    _draw_scores(pixels, parts.pixel, anomalies.pixel if anomalies else [], pixel)
    images.set(title="image scores", xlabel="score", ylabel="share of images")
    pixels.set(title="highest value of the map", xlabel="value", ylabel="share of images")
    _draw_cost(cost, parts.image, anomalies, threshold)
    figure.suptitle(_title(threshold, refusal), fontsize=10)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _title(threshold: Threshold | None, refusal: str) -> str:
    import textwrap

    if threshold is None:
        return "no threshold: " + "\n".join(textwrap.wrap(refusal, _WRAP)[:3])
    return (
        f"threshold {threshold.image:.4g}: at most {threshold.false_alarm_rate:.3g} of normal "
        f"{threshold.by}s rejected, with confidence {threshold.confidence:g}"
    )


def _draw_scores(
    axes: Axes, normal: Scores, anomalous: list[float], threshold: float | None
) -> None:
    """Draw two histograms, each scaled to its number of images, over the same bins."""
    every = np.concatenate([normal, np.array(anomalous, np.float64)])
    every = every[np.isfinite(every)]
    bins = np.histogram_bin_edges(every, _BINS) if every.size else np.linspace(0, 1, _BINS)
    for values, label, colour in ((normal, "normal", "tab:green"),
                                  (np.array(anomalous), "anomalous", "tab:red")):  # fmt: skip
        if len(values):
            weights = np.full(len(values), 1 / len(values))
            label = f"{label} ({len(values)})"
            axes.hist(values, bins.tolist(), weights=weights, alpha=0.6, label=label, color=colour)
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.4g}")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.25)  # room for the legend
    axes.legend(loc="upper center", fontsize=8)


def _draw_cost(
    axes: Axes, normal: Scores, anomalies: AnomalyScores | None, threshold: Threshold | None
) -> None:
    """Draw the share of escapes over the false-alarm rate, for all anomalies and by kind."""
    axes.set(title="what a threshold costs", xlabel="false alarms: share of normal above it",
             ylabel="escapes: share of anomalous not above it", xlim=(-0.02, 1.02),
             ylim=(-0.02, 1.02))  # fmt: skip
    if anomalies is None or not anomalies.image:
        axes.text(0.5, 0.5, "no anomalous images", ha="center", va="center")
        return
    kinds = sorted(set(anomalies.kinds))
    if len(kinds) > 1:
        for kind in kinds:
            alarms, escapes = cost_curve(normal, np.array(anomalies.of_kind(kind).image))
            axes.plot(alarms, escapes, drawstyle="steps-post", linewidth=1, label=kind)
    alarms, escapes = cost_curve(normal, np.array(anomalies.image))
    label = f"all {anomalies.origin}"
    axes.plot(alarms, escapes, drawstyle="steps-post", color="black", linewidth=2, label=label)
    if threshold is not None:
        place = (float((normal > threshold.image).mean()),
                 float((np.array(anomalies.image) <= threshold.image).mean()))  # fmt: skip
        axes.plot(*place, "o", color="black", markersize=8, label="this threshold", clip_on=False)
    axes.legend(loc="upper right", fontsize=8, ncols=2 if len(kinds) > 6 else 1)


def cost_curve(normal: Scores, anomalous: Scores) -> tuple[Scores, Scores]:
    """Return false-alarm rate and share of escapes at every threshold, rates rising.

    A threshold at each score, and one below all; a score at the threshold passes.
    """
    levels = np.concatenate([[-np.inf], np.unique(np.concatenate([normal, anomalous]))])[::-1]
    alarms = 1 - np.searchsorted(np.sort(normal), levels, side="right") / len(normal)
    escapes = np.searchsorted(np.sort(anomalous), levels, side="right") / len(anomalous)
    return alarms, escapes
