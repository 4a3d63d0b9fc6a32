"""Write a calibration report as one self-contained HTML page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.quantize.eval_set import EvalSample, predict
from edge_ad.calibration.quantize.pipeline import CalibrationResult
from edge_ad.errors import InvalidOutput
from edge_ad.files import write_text
from edge_ad.frame import Image
from edge_ad.images import encode_image, read_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDE = 160  # pixels of an example's panels
_EXAMPLES = 3  # normal and anomalous images each, shown with both engines' maps
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:62em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:left;"
    "border-bottom:1px solid #ccc}img{max-width:100%}.failed{color:#b00020}.passed{color:#00702b}"
)


def write_page(report: dict[str, Any], result: CalibrationResult, path: Path) -> None:
    """Write the page in one step."""
    parts = [_head(report), *_gate(report, result), *_dataset(report), *_ranges(report)]
    parts.append(_nodes(report))
    body = "\n".join(parts)
    title = html.escape(Path(report["fp32"]).name)
    write_text(
        path,
        f"<!doctype html><html lang=en><meta charset=utf-8><title>int8 of {title}</title>"
        f"<style>{_STYLE}</style><body>\n{body}\n</body></html>\n",
    )


def _head(report: dict[str, Any]) -> str:
    verdict = "<b class=passed>passed</b>" if report["passed"] else "<b class=failed>failed</b>"
    size, speed = report["bytes"], report["speed"]
    rows = [
        ("gate", verdict if report["gate"] else "skipped (--no-gate)"),
        ("target", report["target"]),
        ("method", report["method"]),
        ("size", f"{_mb(size['fp32'])} in fp32, {_mb(size['int8'])} in int8"),
    ]
    if speed:
        rows.append(
            (
                "time per image here",
                f"{speed['fp32_ms']:.1f} ms in fp32, {speed['int8_ms']:.1f} ms in int8: "
                f"{speed['speedup']:.2f} times faster",
            )
        )
    if report["threshold"]:
        rows.append(("threshold", f"{report['threshold']['image']:.6g}"))
    cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<h1>{html.escape(report['fp32'])} in int8</h1><table>{cells}</table>"


def _gate(report: dict[str, Any], result: CalibrationResult) -> list[str]:
    gate = report["gate"]
    if not gate:
        return []
    parts = [
        f"<h2>Gate: {gate['normal']} normal and {gate['anomalous']} anomalous images</h2>",
        f"<p>{gate['eval_set']}</p>",
        _table(
            ["", "image AUROC", "pixel AP", "AUPRO", "map error"],
            [[name, *_numbers(gate[name])] for name in ("fp32", "int8")],
        ),
        *(f"<p class=failed>{html.escape(line)}</p>" for line in gate["failures"]),
        *(f"<p>not checked: {html.escape(line)}</p>" for line in gate["not_checked"]),
        "<h2>Methods</h2>",
        _table(
            ["method", "image AUROC", "pixel AP", "AUPRO", "map error", "gate"],
            [
                [item["method"], *_numbers(item), "passed" if item["passed"] else "failed"]
                for item in gate["methods"]
            ],
        ),
    ]
    if gate["sensitivity"]:
        chart = _sensitivity(gate["sensitivity"], report["float_blocks"])
        parts += ["<h2>Sensitivity of blocks</h2>", chart]
    return [*parts, "<h2>Maps: image, fp32, int8</h2>", _examples(result)]


def _dataset(report: dict[str, Any]) -> list[str]:
    dataset = report["dataset_report"]
    if not dataset:
        return []
    count = dataset["converged_after"]
    enough = f"{count} were enough" if count else "more are needed"
    warnings = "".join(f"<li>{html.escape(line)}</li>" for line in dataset["warnings"])
    points = sorted((int(count), value) for count, value in dataset["drift"].items())

    def draw(axes: Axes) -> None:
        axes.plot([count for count, _ in points], [100 * value for _, value in points], "o-")
        axes.set(xscale="log", xlabel="images", ylabel="distance to the final ranges, %")
        axes.set_xticks([count for count, _ in points], [str(count) for count, _ in points])
        axes.minorticks_off()

    title = f"<h2>Calibration set: {dataset['images']} images; {enough}</h2>"
    return [title, f"<ul>{warnings}</ul>", _figure(draw)]


def _ranges(report: dict[str, Any]) -> list[str]:
    if not report["clipped"]:
        return []
    rows = [
        [
            item["tensor"],
            f"{item['largest']:.4g}",
            f"{item['amax']:.4g}",
            f"{item['amax'] / item['largest']:.0%}",
        ]
        for item in report["clipped"]
    ]
    return [
        "<h2>Most clipped tensors</h2>",
        _table(["tensor", "largest value", "amax", "share"], rows),
    ]


def _nodes(report: dict[str, Any]) -> str:
    rows = [
        [node["node"], node["op"], node["block"], "int8" if node["int8"] else "float", node["rule"]]
        for node in report["nodes"]
    ]
    table = _table(["node", "operator", "block", "type", "rule"], rows)
    title = f"{report['int8_nodes']} of {len(rows)} nodes in int8"
    return f"<h2>Nodes</h2><details><summary>{title}</summary>{table}</details>"


def _sensitivity(result: dict[str, Any], float_blocks: Sequence[str]) -> str:
    blocks = sorted(result["blocks"], key=lambda item: float(item["alone"]))[-30:]
    names = [b["block"] + (" (float)" if b["block"] in float_blocks else "") for b in blocks]
    gain = [max(result["all_int8"] - b["without"], 0) for b in blocks]

    def draw(axes: Axes) -> None:
        places = np.arange(len(blocks))
        axes.barh(
            places + 0.2, [b["alone"] for b in blocks], 0.4, label="error with it alone in int8"
        )
        axes.barh(places - 0.2, gain, 0.4, label="error removed by leaving it in float")
        axes.set_yticks(places, names, fontsize=7)
        axes.set(xlabel="map error")
        axes.legend()

    return _figure(draw, height=2 + 0.22 * len(blocks), layout="constrained")


def _examples(result: CalibrationResult) -> str:
    """Show normal and anomalous images with the maps of both engines, on one colour scale."""
    samples = result.evaluator.eval_set.samples
    chosen = [s for s in samples if s.anomalous][:_EXAMPLES]
    chosen += [s for s in samples if not s.anomalous][:_EXAMPLES]
    maps = []
    for candidate in (None, result.candidate):
        try:
            with result.evaluator.engine(candidate) as engine:
                maps.append(predict(engine, chosen).maps)
        except InvalidOutput:
            return "<p>No maps to show: the output contains NaN or Inf.</p>"
    finite = np.concatenate([values[np.isfinite(values)] for side in maps for values in side])
    low, high = float(finite.min()), float(finite.max())
    rows = [
        np.hstack([_panel(_shown(sample)), *(_heat(side[i], low, high) for side in maps)])
        for i, sample in enumerate(chosen)
    ]
    return _image(encode_image(np.vstack(rows), ".jpg", 85), "jpeg")


def _shown(sample: EvalSample) -> Image:
    """Return what the engine was given: with its synthetic anomaly, and cut as the maps are.

    Of an image in several tiles only the file shows all of it.
    """
    return sample.batch[0] if len(sample.batch) == 1 else read_image(sample.path)


def _heat(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    level = (np.nan_to_num(values, neginf=low) - low) / max(high - low, 1e-12)
    return _panel(cv2.applyColorMap((255 * level.clip(0, 1)).astype(np.uint8), cv2.COLORMAP_JET))


def _panel(image: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _figure(
    draw: Callable[[Axes], None], height: float = 3.0, layout: Literal["constrained"] | None = None
) -> str:
    """Return a chart; with a `layout`, which takes as long as drawing, long names fit on it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout=layout)
    if layout is None:
        figure.subplots_adjust(left=0.09, right=0.98, bottom=0.17, top=0.96)
    draw(figure.subplots())
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=90)
    return _image(data.getvalue(), "png")


def _image(data: bytes, kind: str) -> str:
    return f'<img alt="" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _numbers(figures: dict[str, Any]) -> list[str]:
    names = ("image_auroc", "pixel_ap", "aupro", "map_error")
    return ["-" if figures[name] is None else f"{figures[name]:.4f}" for name in names]


def _mb(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f} MB"
