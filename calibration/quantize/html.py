"""The report as one HTML page with its images inside: it can be mailed and kept."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.quantize.eval_set import predict
from edge_ad.calibration.quantize.pipeline import CalibrationResult
from edge_ad.files import write_text
from edge_ad.images import encode_image, read_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDE = 160  # pixels of an example's panels
_EXAMPLES = 3  # images of each truth shown with both engines' maps
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:62em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:left;"
    "border-bottom:1px solid #ccc}img{max-width:100%}.bad{color:#b00020}.good{color:#00702b}"
)


def write_page(report: dict[str, Any], outcome: CalibrationResult, path: Path) -> None:
    """Write the page of a report in one step."""
    parts = [_head(report), *_gate(report, outcome), *_set(report), *_ranges(report)]
    parts.append(_nodes(report))
    body = "\n".join(parts)
    title = html.escape(Path(report["fp32"]).name)
    write_text(
        path,
        f"<!doctype html><html lang=en><meta charset=utf-8><title>int8 of {title}</title>"
        f"<style>{_STYLE}</style><body>\n{body}\n</body></html>\n",
    )


def _head(report: dict[str, Any]) -> str:
    word = "<b class=good>passed</b>" if report["passed"] else "<b class=bad>not passed</b>"
    size, speed = report["bytes"], report["speed"]
    rows = [
        ("gate", word if report["gate"] else "none was asked for"),
        ("target", report["target"]),
        ("method", report["method"]),
        ("size", f"{_mb(size['fp32'])} in fp32, {_mb(size['int8'])} in int8"),
    ]
    if speed:
        rows.append(
            (
                "time an image here",
                f"{speed['fp32_ms']:.1f} ms in fp32, {speed['int8_ms']:.1f} ms in int8: "
                f"{speed['times_faster']:.2f} times faster",
            )
        )
    if report["threshold"]:
        rows.append(("threshold", f"{report['threshold']['image']:.6g}"))
    cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<h1>{html.escape(report['fp32'])} in int8</h1><table>{cells}</table>"


def _gate(report: dict[str, Any], outcome: CalibrationResult) -> list[str]:
    gate = report["gate"]
    if not gate:
        return []
    parts = [
        f"<h2>Gate: {gate['normal']} normal and {gate['anomalous']} anomalous, {gate['on']}</h2>",
        _table(
            ["", "image AUROC", "pixel AP", "AUPRO", "map error"],
            [[name, *_numbers(gate[name])] for name in ("fp32", "int8")],
        ),
        *(f"<p class=bad>{html.escape(line)}</p>" for line in gate["failures"]),
        "<h2>Methods</h2>",
        _table(
            ["method", "image AUROC", "pixel AP", "AUPRO", "map error", "gate"],
            [
                [one["method"], *_numbers(one), "passed" if one["passed"] else "failed"]
                for one in gate["methods"]
            ],
        ),
    ]
    if gate["blocks"]:
        parts += ["<h2>Sensitivity</h2>", _sensitivity(gate["blocks"], report["float_blocks"])]
    return [*parts, "<h2>Maps: image, fp32, int8</h2>", _examples(outcome)]


def _set(report: dict[str, Any]) -> list[str]:
    found = report["set"]
    if not found:
        return []
    need = found["enough"]
    told = f"{need} were enough" if need else "more are needed"
    warnings = "".join(f"<li>{html.escape(line)}</li>" for line in found["warnings"])
    points = sorted((int(count), value) for count, value in found["drift"].items())

    def draw(axes: Axes) -> None:
        axes.plot([count for count, _ in points], [100 * value for _, value in points], "o-")
        axes.set(xscale="log", xlabel="images", ylabel="distance to the final ranges, %")

    title = f"<h2>Calibration set: {found['images']} images; {told}</h2>"
    return [title, f"<ul>{warnings}</ul>", _figure(draw)]


def _ranges(report: dict[str, Any]) -> list[str]:
    if not report["clipped"]:
        return []
    rows = [
        [
            one["tensor"],
            f"{one['seen']:.4g}",
            f"{one['kept']:.4g}",
            f"{one['kept'] / one['seen']:.0%}",
        ]
        for one in report["clipped"]
    ]
    return ["<h2>Ranges that clip most</h2>", _table(["tensor", "seen", "kept", "share"], rows)]


def _nodes(report: dict[str, Any]) -> str:
    rows = [
        [node["node"], node["op"], node["block"], "int8" if node["int8"] else "float", node["rule"]]
        for node in report["nodes"]
    ]
    table = _table(["node", "operator", "block", "", "rule"], rows)
    title = f"{report['int8_nodes']} of {len(rows)} nodes in int8"
    return f"<h2>Nodes</h2><details><summary>{title}</summary>{table}</details>"


def _sensitivity(found: dict[str, Any], returned: Sequence[str]) -> str:
    blocks = sorted(found["blocks"], key=lambda one: float(one["alone"]))[-30:]
    names = [one["block"] + (" (float)" if one["block"] in returned else "") for one in blocks]
    gain = [max(found["everything_int8"] - one["without"], 0) for one in blocks]

    def draw(axes: Axes) -> None:
        places = np.arange(len(blocks))
        axes.barh(places + 0.2, [one["alone"] for one in blocks], 0.4, label="it alone in int8")
        axes.barh(places - 0.2, gain, 0.4, label="gained when it alone is float")
        axes.set_yticks(places, names, fontsize=7)
        axes.set(xlabel="map error")
        axes.legend()

    return _figure(draw, height=2 + 0.22 * len(blocks))


def _examples(outcome: CalibrationResult) -> str:
    """Images of both truths with the maps of both engines, on one scale of colours."""
    questions = outcome.trials.exam.questions
    chosen = [q for q in questions if q.anomalous][:_EXAMPLES]
    chosen += [q for q in questions if not q.anomalous][:_EXAMPLES]
    maps = []
    for candidate in (None, outcome.candidate):
        with outcome.trials.engine(candidate) as engine:
            maps.append(predict(engine, chosen).maps)
    finite = np.concatenate([values[np.isfinite(values)] for side in maps for values in side])
    low, high = float(finite.min()), float(finite.max())
    rows = [
        np.hstack([_panel(read_image(q.path)), *(_heat(side[i], low, high) for side in maps)])
        for i, q in enumerate(chosen)
    ]
    return _image(encode_image(np.vstack(rows), ".jpg", 85), "jpeg")


def _heat(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    level = (np.nan_to_num(values, neginf=low) - low) / max(high - low, 1e-12)
    return _panel(cv2.applyColorMap((255 * level.clip(0, 1)).astype(np.uint8), cv2.COLORMAP_JET))


def _panel(image: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _figure(draw: Callable[[Axes], None], height: float = 3.0) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout="constrained")
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


def _numbers(found: dict[str, Any]) -> list[str]:
    names = ("image_auroc", "pixel_ap", "aupro", "map_error")
    return ["-" if found[name] is None else f"{found[name]:.4f}" for name in names]


def _mb(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f} MB"
