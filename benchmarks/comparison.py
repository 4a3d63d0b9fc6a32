"""Comparison of the methods from bench_methods' result files: tables, chart, shipped figures.

Every text is a function of the results and the registry, so that a test finds stale ones.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from results import file_name  # the script's own folder is on the path

from edge_ad.files import replacing
from edge_ad.methods.registry import METHODS, MethodCost, method_costs, title_of
from edge_ad.precision import PRECISIONS

BENCH = "methods"
USUAL_LEVELS = [2, 3]  # of a backbone; a row with others says so
SHORT = {"efficientnet_lite0": "Lite0", "efficientnet_lite2": "Lite2"}  # backbones, in titles
KEPT = ("image_auroc", "pixel_ap", "aupro", "engine_ms")
_ROW = ("data", "seeds", "minutes", "processor_minutes", *KEPT, "image_auroc_interval")
_EARLIER = ("method", "fidelity", "parameters", "GFLOPs", "data", "image AUROC", "pixel AP",
            "AUPRO", "ms fp32 / fp16 / int8", "image AUROC int8", "int8 gate", "file")  # fmt: skip
_HEAD = ("data", "method", "seeds, core min each", "image AUROC", "pixel AUROC", "pixel AP",
         "AUPRO", "unseen parts rejected / stated bound", "branch chosen / best",
         "ms fp32 / fp16 / int8", "image AUROC int8", "int8 gate", "file")  # fmt: skip
_MARKS: dict[str, str] = dict(zip(PRECISIONS, "os^", strict=True))

Record = dict[str, Any]


def measured(results: list[Record]) -> dict[str, list[Record]]:
    """Return the figures that are shipped: per method, a row per data set."""
    rows: dict[str, list[Record]] = {}
    for result in _of_methods(results):
        metrics = result["metrics"]
        row = {name: metrics[name] for name in _ROW if name in metrics}
        row["data"] += _variant(result)
        row |= {"device": result["device"], "cpu": result["machine"]["cpu"]}
        row |= {"cores": result["machine"]["cores"], "seed": result["settings"]["seed"]}
        row["precisions"] = {
            name: {key: figures[key] for key in KEPT if key in figures}
            for name, figures in metrics["precisions"].items()
        }
        rows.setdefault(result["settings"]["method"], []).append(row)
    return rows


def shipped(results: list[Record]) -> str:
    """Return the text of the file that an installed `edge-ad methods` reads."""
    return json.dumps(measured(results), indent=1) + "\n"


def overview() -> str:
    """Return a Markdown table of the registry: needs, costs and fidelity of every method."""
    head = ("method", "needs", "parameters, GFLOPs at 256x256", "`--preset edge` at 128x128",
            "fidelity")  # fmt: skip
    rows = [head, ("---",) * len(head)]
    for entry in METHODS.values():
        costs = method_costs()[entry.name]
        name = f"`{entry.name}` {entry.title}"
        rows.append((name, entry.needs, _cost(costs.full), _cost(costs.edge), entry.fidelity))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cost(cost: MethodCost) -> str:
    return f"{cost.parameters_m:.2f} M, {cost.gflops:.1f}"


def table(results: list[Record]) -> str:
    """Return a Markdown table of the figures on held-out parts, by data set and method."""
    return _lines(_HEAD, [_row(one) for one in _of_methods(results) if _is_by_part(one)])


def earlier(results: list[Record]) -> str:
    """Return a Markdown table of figures that were measured before parts were held out."""
    rows = [_earlier_row(one) for one in _of_methods(results) if not _is_by_part(one)]
    return _lines(_EARLIER, rows)


def _lines(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ("---",) * len(head), *rows])


def _is_by_part(result: Record) -> bool:
    return "seeds" in result["metrics"]


def points(results: list[Record]) -> list[tuple[str, str, str, float, float]]:
    """Return (data, method, precision, milliseconds, image AUROC) of everything, sorted."""
    return sorted(
        (result["metrics"]["data"], _title(result), name, figures["engine_ms"],
         figures["image_auroc"])
        for result in _of_methods(results)
        for name, figures in result["metrics"]["precisions"].items()
        if "image_auroc" in figures
    )  # fmt: skip


def fingerprint(results: list[Record]) -> str:
    """Return a hash of the chart's points, stored in the chart to find a stale one."""
    return hashlib.sha256(json.dumps(points(results)).encode()).hexdigest()


def draw(path: Path, results: list[Record]) -> None:
    """Draw accuracy against milliseconds: a panel per data set, a line per method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured_points = points(results)
    sets = sorted({data for data, *_ in measured_points})
    figure, axes = pyplot.subplots(1, len(sets), figsize=(5.5 * len(sets), 4.2), squeeze=False)
    for axis, data in zip(axes[0], sets, strict=True):
        _panel(axis, [point[1:] for point in measured_points if point[0] == data])
        axis.set_title(data.replace("_", " "))
    figure.tight_layout()
    with replacing(path) as temporary:
        metadata = {"Description": fingerprint(results)}
        figure.savefig(temporary, dpi=110, format="png", metadata=metadata)
    pyplot.close(figure)


def _panel(axis: Any, rows: list[tuple[str, str, float, float]]) -> None:
    for number, title in enumerate(dict.fromkeys(method for method, *_ in rows)):
        figures = {name: (ms, auroc) for method, name, ms, auroc in rows if method == title}
        line = [figures[name] for name in PRECISIONS if name in figures]
        colour = f"C{number}"
        axis.plot(*zip(*line, strict=True), "-", color=colour, alpha=0.4, label=title)
        for name, (ms, auroc) in figures.items():
            axis.plot(ms, auroc, _MARKS[name], color=colour)
    for name, mark in _MARKS.items():
        axis.plot([], [], mark, color="grey", label=name)
    axis.set_xscale("log")
    axis.set_xlabel("milliseconds an image, ONNX Runtime")
    axis.set_ylabel("image AUROC")
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize="x-small")


def _of_methods(results: list[Record]) -> list[Record]:
    """Return the results of bench_methods, in the registry's order."""
    order = list(METHODS)
    return sorted(
        (result for result in results if result["bench"] == BENCH),
        key=lambda row: (
            row["metrics"]["data"],
            order.index(row["settings"]["method"]),
            row["model"],
        ),
    )


def _row(result: Record) -> tuple[str, ...]:
    metrics = result["metrics"]
    minutes = metrics["processor_minutes"]
    spent = _figure(minutes, ".0f" if minutes >= 10 else ".1f")
    return (
        metrics["data"].replace("_", " "),
        _title(result),
        f"{metrics['seeds']}, {spent}",
        *(
            _with_spread(metrics, key)
            for key in ("image_auroc", "pixel_auroc", "pixel_ap", "aupro")
        ),
        _rejected(result),
        _branches(result),
        *_speed(metrics),
        _file(result),
    )


def _with_spread(metrics: Record, key: str) -> str:
    """Return like "0.936 ± 0.004 [0.89, 0.97]": mean, deviation over seeds, interval by part."""
    text = _figure(metrics[key], ".3f")
    if (deviation := metrics.get(f"{key}_deviation")) is not None:
        text += f" ± {deviation:.3f}"
    ends = metrics.get(f"{key}_interval")
    return text + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")


def _rejected(result: Record) -> str:
    """Return like "2, 1, 2 of 16 / 12 %": parts rejected with each seed, and the bound."""
    seeds = [seed for seed in result["samples"]["seeds"] if seed["unseen"]]
    if not seeds:
        return "no threshold"
    counts = ", ".join(str(seed["unseen"]["rejected_parts"]) for seed in seeds)
    rates = sorted({seed["threshold"]["rate"] for seed in seeds})
    bound = ", ".join(f"{rate:.2g}" for rate in rates)
    return f"{counts} of {seeds[0]['unseen']['parts']} / {bound}"


def _branches(result: Record) -> str:
    """Return the branch chosen and the best on the test images, once for each different pair."""
    found = [seed["branch"] for seed in result["samples"]["seeds"] if seed["branch"]]
    pairs = dict.fromkeys(f"{one['chosen']} / {one['best']}" for one in found)
    return ", ".join(pairs) or "-"


def _title(result: Record) -> str:
    return title_of(result["settings"]["method"]) + _variant(result)


def _variant(result: Record) -> str:
    """Return what differs from the preset, to go behind a name: backbone, levels, cells, prior."""
    network = result["settings"].get("settings", {}).get("network", {})
    backbone = network.get("backbone", "resnet18")
    title = f", {SHORT[backbone]}" if backbone in SHORT else ""
    levels = network.get("levels", USUAL_LEVELS)
    title += "" if levels == USUAL_LEVELS else f", levels {'+'.join(map(str, levels))}"
    cells = network.get("cells", "plain")
    title += "" if cells == "plain" else f", {cells} cells"
    prior = result["settings"].get("prior", "none")
    return title if prior == "none" else f"{title} + {title_of(prior)}"


def _earlier_row(result: Record) -> tuple[str, ...]:
    metrics, method = result["metrics"], result["settings"]["method"]
    return (
        title_of(method),
        METHODS[method].fidelity,
        f"{metrics['parameters'] / 1e6:.2f} M",
        f"{metrics['gflops']:.1f}",
        f"{metrics['data'].replace('_', ' ')}, {_spent(metrics)}",
        *(_figure(metrics.get(key), ".3f") for key in KEPT[:3]),
        *_speed(metrics),
        _file(result),
    )


def _speed(metrics: Record) -> tuple[str, str, str]:
    """Return the milliseconds of every precision, int8's image AUROC, and its gate."""
    precisions = metrics["precisions"]
    times = (_figure(precisions.get(name, {}).get("engine_ms"), ".1f") for name in PRECISIONS)
    auroc = _figure(precisions.get("int8", {}).get("image_auroc"), ".3f")
    return " / ".join(times), auroc, _gate(metrics)


def _file(result: Record) -> str:
    name = file_name(*(result[key] for key in ("device", "bench", "model", "precision")))
    return f"[json](../benchmarks/results/{name})"


def _gate(metrics: Record) -> str:
    """Say if int8 passed, and how many blocks stayed in float for it."""
    report = metrics["int8"]
    if report is None:
        return "failed" if "int8" in metrics["failures"] else "-"
    count = len(report["float_blocks"] or [])
    blocks = f", {count} block{'s' * (count > 1)} in float" if count else ""
    return ("passed" if report["passed"] else "not passed") + blocks


def _spent(metrics: Record) -> str:
    """Return the minutes of training, those of one core where they were counted."""
    minutes = metrics.get("processor_minutes")
    return f"{metrics['minutes']:.0f} min" if minutes is None else f"{minutes:.0f} core min"


def _figure(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)
