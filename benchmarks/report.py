"""Render every table and plot of measurements from the result files.

    python benchmarks/report.py

Renders the README's five figures, docs/benchmarks.md, the comparison of methods in
docs/methods.md with its plot, and the figures that `edge-ad methods` ships. A test renders them
again and fails when one is stale.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import comparison  # the script's own folder is on the path
from results import file_name, read_results

from edge_ad.files import write_text

ROOT = Path(__file__).resolve().parent.parent
README, BENCHMARKS = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
METHODS, PLOT = ROOT / "docs" / "methods.md", ROOT / "docs" / "methods.png"
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
        "{first_verdict_s:.2f} s and {peak_mib:.0f} MiB",
        "cpu-start-sample.fp32.json",
    ),
)

# bench -> its heading and what it measures, in the order of the page
SECTIONS = {
    "training": (
        "Training",
        "DeSTSeg at 128x128 and a quarter of the width, trained for 20 minutes on two cores, on "
        "the whole labelled test part.",
    ),
    "methods": (
        "Methods",
        "The edge preset of every method, in fp32. [methods.md](methods.md) has intervals, false "
        "alarms on unseen parts, fp16, int8 and the cost of training.",
    ),
    "settings": (
        "Settings of the restorers",
        "Image AUROC of EAR and PMB with and without the mosaic, and with a higher weight on "
        "anomalous pixels; `seed 7` is a generated line that was never used for training.",
    ),
    "noise": (
        "Sensitivity to noise",
        "How far one grey level of noise moves an anomaly map, relative to its largest value, and "
        "the score, relative to the largest of normal images; least and most sensitive method.",
    ),
    "fp16": ("fp16", "fp16 against fp32 on ONNX Runtime, on labelled magnetic tiles."),
    "int8_gate": (
        "int8: accuracy gate",
        "`edge-ad calibrate` with the default limits on labelled images.",
    ),
    "int8_quantizers": (
        "int8: quantizers",
        "Relative error of the anomaly map with edge-ad's Q/DQ placement and with ONNX Runtime's "
        "quantizer, given the same images and ranges; see [int8.md](int8.md).",
    ),
    "int8_speed": ("int8: speed", "DeSTSeg at 256x256 in full width, on ONNX Runtime."),
    "int8_calibration": (
        "int8: cost of the ranges",
        "Collecting the ranges of 512 images, DeSTSeg at 256x256 in full width.",
    ),
    "int8_sensitivity": (
        "int8: cost of the sensitivity analysis",
        "Each of the 31 blocks measured alone in int8, and all but it.",
    ),
    "loop": ("The loop", "`edge-ad run` on a video against the engine alone, in turn."),
    "opcua": (
        "OPC UA clients",
        "For ten minutes, ten clients connect to a line's server, subscribe to every variable and "
        "leave, half of them by dropping the connection, while two cameras have fifty results a "
        "second. "
        "The memory of the server (MiB, medians of a third of the time), what handing over a "
        "result costs the line (microseconds), and how late a client that stays receives a reject "
        "(ms). Other work ran on the two cores meanwhile.",
    ),
    "store": (
        "The store",
        "A line that rejects every part, killed at 200 random moments and started again: what was "
        "seen committed and is lost or damaged, parts that got a number twice, alarms left open. "
        "And 100 000 events at once (microseconds for the line's thread and for the store, of the "
        "second and last 10 000), then single ones (milliseconds to the commit) beside what the "
        "disk takes to keep 4 KiB. The machine was busy: a load of 12 on two cores.",
    ),
    "bundle": (
        "Bundles",
        "A signed bundle damaged at random (bits, bytes, blocks removed, doubled, swapped, mixed "
        "with another signed version) and offered to an install; and installs killed (SIGKILL) 20 "
        "times in each of their 12 steps, at its beginning and at random moments, each followed by "
        "an install that must succeed. A broken line has a link that leads nowhere, or a file that "
        "is missing or changed.",
    ),
    "plc": (
        "Verdicts to a PLC",
        "Milliseconds from a verdict, at 30 frames/s with an engine that costs nearly nothing, to "
        "the read that shows it to a Modbus master that polls each millisecond, to the write that "
        "reaches a PLC, and to the GPIO library. The machine was shared; wakeup is how late a "
        "process that only sleeps was woken meanwhile.",
    ),
    "outlets": (
        "Outlets",
        "What a store recorded against what a subscriber of a real Mosquitto received: 10 000 "
        "events made while the broker is away (`away`), then 500 a second while the broker is "
        "restarted and the line killed at random moments, with a slow subscriber; 200 a second for "
        "ten minutes. Milliseconds from the verdict to the subscriber, of events, which are on "
        "the disk first, and of verdicts, beside what the disk takes to keep 4 KiB (`sync`). "
        "The machine was shared, at loads of 9 to 20 on two cores; `priority` in the files says "
        "what went before others: without it, latency is that of the scheduler.",
    ),
    "line": (
        "The line itself",
        "On an engine that costs nothing. Soak: frames of 64x64 pixels at once, one in 500 "
        "rejected, with store and evidence images; growth of the process after 200 000 frames. "
        "Eight: cameras of 640x480 at 30 frames/s. Others: the slowest of three such cameras "
        "beside one that is dead, hangs, or is ten times slower, and its rate over that beside a "
        "healthy one.",
    ),
    "threads": (
        "Threads under load",
        "The sample engine beside busy processes: fixed settings of ONNX Runtime's threads, and "
        "`run`, which chooses among them while it runs; in turn, in blocks of 20 calls, without "
        "the calls that try other settings (one in 250). The machine was shared: these processes "
        "had priority over the others', which still took caches and moved threads.",
    ),
    "verdict": (
        "From image file to verdict",
        "Decoding, cutting, network and score, on ONNX Runtime with one thread. Processor time is "
        "what an idle core takes; the machine was busy, which stretches the time that passes. "
        "PatchCore in fp32 and int8 at 224x224, trained on bottles; DeSTSeg's edge preset in "
        "int8 at 128x128 with and without the Gaussian prior, untrained, since speed does not "
        "depend on the weights.",
    ),
    "start": (
        "Start",
        "A fresh process, from the command to its first verdict, and its memory over the footage: "
        "resident, and its own part of it, in which shared libraries count in parts (PSS).",
    ),
    "parts": (
        "Parts",
        "Parts found from the images, and from names with groups joined that show one part, "
        "against listed parts; the threshold was chosen on the training tiles and the bottles. "
        "In bottle, fabric, macaroni and metal plate every image is taken for a part, so that "
        "each pair is a false one. By eye, bottles 069 and 070 are one bottle, and all 41 false "
        "pairs of the training tiles are of tiles that are listed twice (123 and 125, 111 and "
        "173). Line: frames of a plate in one region; the plates differ in the grain of the "
        "metal alone.",
    ),
    "fuzz": (
        "Mutated inputs",
        "Files and folders with flipped bits, cut ends, exchanged values, lost and moved files, "
        "given to the public functions and verbs. A finding is a traceback, a hang, a process that "
        "dies, a count that does not add up, a refusal without the file's name, or a file left by "
        "a refused verb.",
    ),
}
# columns of benches whose files hold more figures than a table can show
_SHOWN = {comparison.BENCH: comparison.KEPT}
_WORDS = {"auroc": "AUROC", "ap": "AP", "aupro": "AUPRO", "iap": "IAP", "iap90": "IAP90",
          "fps": "frames/s", "mib": "MiB", "cpu": "CPU"}  # fmt: skip


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
        METHODS: _methods_page(results),
        SHIPPED: comparison.shipped(results),
    }


def _methods_page(results: list[Record]) -> str:
    page = replaced(METHODS.read_text(encoding="utf-8"), comparison.table(results))
    page = replaced(page, comparison.earlier(results), "earlier")
    return replaced(page, comparison.overview(), "methods")


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
