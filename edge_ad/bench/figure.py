"""Draw a result: a histogram of latencies, and a bar for each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from edge_ad.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 60
STAGE = "stage "  # the beginning of a stage's name among the samples


def write_figure(path: Path, samples: Mapping[str, Sequence[float]]) -> None:
    """Write an image of all latencies (not the stages'), and of the stages if there are any."""
    from matplotlib.figure import Figure

    stages = {name: times for name, times in samples.items() if name.startswith(STAGE)}
    latencies = {name: times for name, times in samples.items() if name not in stages}
    figure = Figure(figsize=(10, 7 if stages else 4), layout="constrained")
    axes = figure.subplots(2 if stages else 1, 1, squeeze=False)[:, 0]
    _draw_latencies(axes[0], latencies)
    if stages:
        _draw_stages(axes[1], stages)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _draw_latencies(axes: Axes, latencies: Mapping[str, Sequence[float]]) -> None:
    """Draw up to the slowest 1 %, whose outliers would squeeze the rest."""
    milliseconds = {name: 1e3 * np.array(times) for name, times in latencies.items()}
    right = max(float(np.quantile(times, 0.99)) for times in milliseconds.values())
    for name, times in milliseconds.items():
        axes.hist(times, bins=_BINS, range=(0.0, right * 1.05), alpha=0.6, label=name)
    axes.set(title="latency", xlabel="ms", ylabel="calls")
    axes.legend()


def _draw_stages(axes: Axes, stages: Mapping[str, Sequence[float]]) -> None:
    names = [name.removeprefix(STAGE) for name in stages]
    medians = [1e3 * median(times) for times in stages.values()]
    bars = axes.barh(names, medians)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.invert_yaxis()
    axes.set(title="stages, median of a frame (store: of an event)", xlabel="ms")
