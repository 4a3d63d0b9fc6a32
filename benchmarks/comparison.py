"""The methods side by side, from bench_methods' result files: table, image, shipped figures.

Every text is a function of the results alone, so that a test can tell when one of them is stale.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from results import file_name  # the script's own folder is on the path

from edge_ad.files import replacing
from edge_ad.methods.catalogue import CARDS, titled
from edge_ad.precision import PRECISIONS

BENCH = "methods"
KEPT = ("image_auroc", "pixel_ap", "aupro", "engine_ms")
_ROW = ("data", "minutes", "processor_minutes", *KEPT)
_HEAD = ("method", "fidelity", "parameters", "GFLOPs", "data", "image AUROC", "pixel AP", "AUPRO",
         "ms fp32 / fp16 / int8", "image AUROC int8", "int8 gate", "file")  # fmt: skip
_MARKS: dict[str, str] = dict(zip(PRECISIONS, "os^", strict=True))

Record = dict[str, Any]


def measured(results: list[Record]) -> dict[str, list[Record]]:
    """What `edge-ad methods` ships: per method, a row a data set with its figures per precision."""
    rows: dict[str, list[Record]] = {}
    for result in _of_methods(results):
        metrics = result["metrics"]
        row = {name: metrics[name] for name in _ROW if name in metrics}
        row |= {"device": result["device"], "cpu": result["machine"]["cpu"]}
        row |= {"cores": result["machine"]["cores"], "seed": result["settings"]["seed"]}
        row["precisions"] = {
            name: {key: one[key] for key in KEPT if key in one}
            for name, one in metrics["precisions"].items()
        }
        rows.setdefault(result["settings"]["method"], []).append(row)
    return rows


def shipped(results: list[Record]) -> str:
    """The text of the file that an installed `edge-ad methods` reads."""
    return json.dumps(measured(results), indent=1) + "\n"


def table(results: list[Record]) -> str:
    """A Markdown table, a row a method and data set."""
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(result) for result in _of_methods(results))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def points(results: list[Record]) -> list[tuple[str, str, str, float, float]]:
    """(data, method, precision, milliseconds, image AUROC) of everything measured, sorted."""
    return sorted(
        (result["metrics"]["data"], result["settings"]["method"], name, one["engine_ms"],
         one["image_auroc"])
        for result in _of_methods(results)
        for name, one in result["metrics"]["precisions"].items()
        if "image_auroc" in one
    )  # fmt: skip


def fingerprint(results: list[Record]) -> str:
    """What the image carries, to be told from one of other figures."""
    return hashlib.sha256(json.dumps(points(results)).encode()).hexdigest()


def draw(path: Path, results: list[Record]) -> None:
    """Accuracy against milliseconds: one panel a data set, one line a method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = points(results)
    sets = sorted({data for data, *_ in found})
    figure, axes = pyplot.subplots(1, len(sets), figsize=(5.5 * len(sets), 4.2), squeeze=False)
    for axis, data in zip(axes[0], sets, strict=True):
        _panel(axis, [point[1:] for point in found if point[0] == data])
        axis.set_title(data.replace("_", " "))
    figure.tight_layout()
    with replacing(path) as temporary:
        told = {"Description": fingerprint(results)}
        figure.savefig(temporary, dpi=110, format="png", metadata=told)
    pyplot.close(figure)


def _panel(axis: Any, found: list[tuple[str, str, float, float]]) -> None:
    for number, entry in enumerate(CARDS):
        own = {name: (ms, auroc) for method, name, ms, auroc in found if method == entry.name}
        line = [own[name] for name in PRECISIONS if name in own]
        if not line:
            continue
        colour = f"C{number}"
        axis.plot(*zip(*line, strict=True), "-", color=colour, alpha=0.4, label=entry.title)
        for name, (ms, auroc) in own.items():
            axis.plot(ms, auroc, _MARKS[name], color=colour)
    for name, mark in _MARKS.items():
        axis.plot([], [], mark, color="grey", label=name)
    axis.set_xscale("log")
    axis.set_xlabel("milliseconds an image, ONNX Runtime")
    axis.set_ylabel("image AUROC")
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize="x-small")


def _of_methods(results: list[Record]) -> list[Record]:
    """Those of bench_methods, in the catalogue's order."""
    order = [entry.name for entry in CARDS]
    own = [result for result in results if result["bench"] == BENCH]
    return sorted(
        own, key=lambda one: (one["metrics"]["data"], order.index(one["settings"]["method"]))
    )


def _row(result: Record) -> tuple[str, ...]:
    metrics, method = result["metrics"], result["settings"]["method"]
    precisions = metrics["precisions"]
    (entry,) = (entry for entry in CARDS if entry.name == method)
    times = (_figure(precisions.get(name, {}).get("engine_ms"), ".1f") for name in PRECISIONS)
    name = file_name(*(result[key] for key in ("device", "bench", "model", "precision")))
    return (
        titled(method),
        entry.fidelity,
        f"{metrics['parameters'] / 1e6:.2f} M",
        f"{metrics['gflops']:.1f}",
        f"{metrics['data'].replace('_', ' ')}, {_spent(metrics)}",
        *(_figure(metrics.get(key), ".3f") for key in KEPT[:3]),
        " / ".join(times),
        _figure(precisions.get("int8", {}).get("image_auroc"), ".3f"),
        _gate(metrics),
        f"[json](../benchmarks/results/{name})",
    )


def _gate(metrics: Record) -> str:
    """Whether int8 passed, and how many blocks had to stay in float for it."""
    report = metrics["int8"]
    if report is None:
        return "failed"
    stayed = report["float_blocks"] or []
    blocks = f", {len(stayed)} block{'s' * (len(stayed) > 1)} in float" if stayed else ""
    return ("passed" if report["passed"] else "not passed") + blocks


def _spent(metrics: Record) -> str:
    """What training cost: minutes of one core, where they were counted."""
    minutes = metrics.get("processor_minutes")
    return f"{metrics['minutes']:.0f} min" if minutes is None else f"{minutes:.0f} core min"


def _figure(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)
