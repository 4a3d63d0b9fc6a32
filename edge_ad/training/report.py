"""The training report: figures as JSON, loss curves and examples as an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edge_ad.files import replacing, write_text
from edge_ad.frame import Image
from edge_ad.methods.learning.batch import Batch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXAMPLES = 6
CURVES_IN, EXAMPLE_IN = 3, 1.6  # inches of the image's height
COLUMNS = ("normal", "anomalous", "mask", "anomaly map")


def report_path(output: Path) -> Path:
    """Return the report's path: `destseg.pt` -> `destseg.report.json`."""
    return output.with_suffix(".report.json")


def write_report(
    output: Path, figures: dict[str, Any], history: list[dict[str, Any]], rows: list[list[Image]]
) -> dict[str, Any]:
    """Write `<output>.report.json` and `.report.png` beside the weights; return the report.

    `rows` are the images to draw: a row per example, a column per kind.
    """
    path = report_path(output)
    image = path.with_suffix(".png")
    report = {**figures, "weights": str(output), "report": str(path), "image": str(image)}
    write_text(path, json.dumps({**report, "history": history}, indent=1))
    _draw(image, history, rows, str(report["title"]))
    return report


def example_rows(module: torch.nn.Module, held_back: Batch) -> list[list[Image]]:
    """Return rows of normal tile, anomalous copy, mask, and the anomaly map of the copy."""
    indices = np.linspace(0, len(held_back.mask) - 1, min(EXAMPLES, len(held_back.mask))).astype(
        int
    )
    with torch.inference_mode():
        maps = module.eval()(held_back.anomalous[indices])[0].numpy()
    top = max(float(maps.max()), 1e-12)
    return [
        [
            _bgr(held_back.normal[index]),
            _bgr(held_back.anomalous[index]),
            _grey(held_back.mask[index, 0].numpy()),
            _coloured(values / top),
        ]
        for index, values in zip(indices, maps, strict=True)
    ]


def _draw(path: Path, history: list[dict[str, Any]], rows: list[list[Image]], method: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = CURVES_IN + EXAMPLE_IN * len(rows)
    figure = Figure(figsize=(11, height))
    FigureCanvasAgg(figure)
    curves = figure.add_axes(
        (0.06, 1 - (CURVES_IN - 0.5) / height, 0.93, (CURVES_IN - 0.9) / height)
    )
    draw_losses(curves, history, method)
    examples = figure.add_axes((0.01, 0.1 / height, 0.98, 1 - (CURVES_IN + 0.4) / height))
    draw_examples(examples, rows)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100, pil_kwargs={"compress_level": 3})


def draw_examples(axes: Axes, rows: list[list[Image]]) -> None:
    """Draw the rows of `example_rows` as one mosaic, with a heading over each column."""
    gap = max(1, rows[0][0].shape[1] // 20)
    margins = ((gap, gap), (gap, gap), (0, 0))
    padded = [[np.pad(image, margins, constant_values=255) for image in row] for row in rows]
    axes.imshow(np.vstack([np.hstack(row) for row in padded])[..., ::-1])
    width = padded[0][0].shape[1]
    axes.set_xticks([(column + 0.5) * width - 0.5 for column in range(len(COLUMNS))], COLUMNS)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.set_frame_on(False)


def draw_losses(axes: Axes, history: list[dict[str, Any]], method: str) -> None:
    """Draw a curve of each loss over the steps that have it."""
    from matplotlib.ticker import LogLocator, NullLocator

    names = [key for point in history for key in point if key not in ("step", "phase")]
    for name in dict.fromkeys(names):
        points = [(point["step"], point[name]) for point in history if name in point]
        axes.plot(*zip(*points, strict=True), label=name, linewidth=1)
    axes.set(title=f"{method}: losses", xlabel="step", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.yaxis.set_major_formatter("{x:g}")  # powers of ten would take a third of the time
    axes.yaxis.set_minor_locator(NullLocator())
    if names:
        axes.legend()


def _bgr(rgb: torch.Tensor) -> Image:
    image = (rgb.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    return np.ascontiguousarray(image[..., ::-1])


def _grey(values: NDArray[np.float32]) -> Image:
    return np.repeat((values * 255).astype(np.uint8)[..., None], 3, axis=2)


def _coloured(values: NDArray[np.float32]) -> Image:
    grey = np.clip(values * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO), np.uint8)
