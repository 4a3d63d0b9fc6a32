"""Render every table and plot of measurements from the result files.

    python benchmarks/report.py

Renders the README's five figures, docs/benchmarks.md, the methods' table in docs/methods.md, their
comparison in docs/methods-measured.md with its plot, and the figures that `edge-ad methods` ships.
A test renders them again and fails when one is stale.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import comparison  # the script's own folder is on the path
from results import file_name, read_results
from sections import SECTIONS

from edge_ad.files import write_text

ROOT = Path(__file__).resolve().parent.parent
README, BENCHMARKS = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
METHODS, PLOT = ROOT / "docs" / "methods.md", ROOT / "docs" / "methods.png"
MEASURED = ROOT / "docs" / "methods-measured.md"
SHIPPED = ROOT / "edge_ad" / "methods" / "measured.json"

Record = dict[str, Any]


@dataclass(frozen=True)
class Headline:
    """One row of the README; both texts are format strings over the metrics of one file."""

    what: str
    figures: str
    file: str


HEADLINES = (
    Headline(
        "PatchCore after {processor_minutes:.1f} core minutes, on magnetic tiles never seen",
        "image AUROC {image_auroc:.3f}, 95 % interval {image_auroc_interval[0]:.2f} to "
        "{image_auroc_interval[1]:.2f}",
        "cpu-methods-patchcore_magnetic_tile.all.json",
    ),
    Headline(
        "DeSTSeg in int8 on the CPU, inside its accuracy gate",
        "{times_faster:.1f} times as fast as fp32",
        "cpu-int8_gate-magnetic_tile_onnxruntime.int8.json",
    ),
    Headline(
        "The shipped detector on a video, two CPU cores",
        "{loop_fps:.0f} frames/s, {ratio:.0%} of what the engine alone reaches",
        "cpu-loop-sample.fp32.json",
    ),
    Headline(
        "Events to an MQTT broker that was restarted {broker_restarts} times, the line killed "
        "{kills} times",
        "{lost} of {events} lost, {order_violations} out of order",
        "cpu-outlets-mqtt_faults.all.json",
    ),
    Headline(
        "From the command to the first verdict",
        "{first_verdict_s:.2f} s and {peak_mib:.0f} MiB ({folder_peak_mib:.0f} for images)",
        "cpu-start-sample_on_a_device.fp32.json",
    ),
)

# columns of benches whose files hold more figures than a table can show
_SHOWN = {comparison.BENCH: comparison.KEPT}
_WORDS = {"auroc": "AUROC", "ap": "AP", "aupro": "AUPRO", "iap": "IAP", "iap90": "IAP90",
          "fps": "frames/s", "mib": "MiB", "cpu": "CPU", "openvino": "OpenVINO",
          "onnxruntime": "ONNX Runtime"}  # fmt: skip


def headline_table(results: list[Record]) -> str:
    """Return the README's table, one row a headline."""
    metrics = {_file(result): result["metrics"] for result in results}
    rows = [
        (
            row.what.format(**metrics[row.file]),
            f"[{row.figures.format(**metrics[row.file])}](benchmarks/results/{row.file})",
        )
        for row in HEADLINES
    ]
    return _table([("what", "measured"), *rows])


def sections(results: list[Record]) -> str:
    """Return a Markdown section a bench, in the order of SECTIONS; unknown benches come last."""
    order = [*SECTIONS, *sorted({result["bench"] for result in results} - set(SECTIONS))]
    ranked = sorted(results, key=lambda result: (order.index(result["bench"]), _file(result)))
    parts = [
        _section(bench, list(group)) for bench, group in groupby(ranked, lambda row: row["bench"])
    ]
    return "\n\n".join(parts)


def texts(results: list[Record]) -> dict[Path, str]:
    """Return every rendered file with its expected content."""
    return {
        README: replaced(README.read_text(encoding="utf-8"), headline_table(results)),
        BENCHMARKS: replaced(BENCHMARKS.read_text(encoding="utf-8"), f"\n{sections(results)}\n"),
        METHODS: replaced(METHODS.read_text(encoding="utf-8"), comparison.overview(), "methods"),
        MEASURED: _measured_page(results),
        SHIPPED: comparison.shipped(results),
    }


def _measured_page(results: list[Record]) -> str:
    page = replaced(MEASURED.read_text(encoding="utf-8"), comparison.table(results))
    return replaced(page, comparison.earlier(results), "earlier")


def stale(results: list[Record]) -> list[Path]:
    """Return the rendered files that differ from the result files."""
    old = [path for path, text in texts(results).items() if path.read_text("utf-8") != text]
    drawn = PLOT.exists() and comparison.fingerprint(results).encode() in PLOT.read_bytes()
    return old if drawn or not comparison.points(results) else [*old, PLOT]


def replaced(text: str, table: str, part: str = "results") -> str:
    """Return a page with the part between the two markers replaced."""
    begin, end = f"<!-- {part} -->", f"<!-- /{part} -->"
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n{table}\n{end}{tail}"


def words(key: str) -> str:
    """Return a metric's name as words: 'image_auroc_fp32' becomes 'image AUROC fp32'."""
    return " ".join(_WORDS.get(word, word) for word in re.split(r"[_ ]", key))


def _section(bench: str, results: list[Record]) -> str:
    title, text = SECTIONS.get(bench, (words(bench), ""))
    places = sorted({_place(result) for result in results})
    return f"## {title}\n\n{text}\nMeasured on {' and '.join(places)}.\n\n{_figures(results)}"


def _figures(results: list[Record]) -> str:
    """Return all metrics of all files as a table whose longer side runs down the page."""
    keys = list(dict.fromkeys(key for result in results for key in _numbers(result)))
    head = ("", *(words(key) for key in keys))
    rows = [
        (_link(result), *(_short(_numbers(result).get(key)) for key in keys)) for result in results
    ]
    cells = [head, *rows]
    return _table(cells if len(rows) >= len(keys) else list(zip(*cells, strict=True)))


def _numbers(result: Record) -> dict[str, float]:
    shown = _SHOWN.get(result["bench"], tuple(result["metrics"]))
    return {
        key: value
        for key, value in result["metrics"].items()
        if key in shown and isinstance(value, int | float) and not isinstance(value, bool)
    }


def _table(cells: list[tuple[str, ...]]) -> str:
    head, *rows = cells
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _link(result: Record) -> str:
    return f"[{words(result['model'])}](../benchmarks/results/{_file(result)})"


def _place(result: Record) -> str:
    machine = result["machine"]
    name = machine["cpu"] if result["device"] == "cpu" else result["device"]
    return f"{name}, {machine['cores']} cores"


def _file(result: Record) -> str:
    return file_name(result["device"], result["bench"], result["model"], result["precision"])


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, int) else f"{value:.4g}"


def main() -> None:
    """Render what is stale."""
    results = read_results()
    if PLOT in (old := stale(results)):
        comparison.draw(PLOT, results)
    for path, text in texts(results).items():
        if path in old:
            write_text(path, text)


if __name__ == "__main__":
    main()
