"""`edge-ad methods`: what there is to choose from, what it costs and what it reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.errors import DataError

if TYPE_CHECKING:
    from edge_ad.methods.catalogue import MethodCard

BENCH = "methods"  # what benchmarks/bench_methods.py calls its result files
SHIPPED = "measured.json"  # their figures, in the package: benchmarks/report.py writes them
_METRICS = (("image_auroc", "image AUROC"), ("pixel_ap", "pixel AP"), ("aupro", "AUPRO"))


@click.command()
@click.argument("name", required=False)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of result files of benchmarks/bench_methods.py, in place of the shipped figures.",
)
@shared
def command(*, name: str | None, results: Path | None, as_json: bool) -> None:
    """Compare the methods, or tell more of the one NAME.

    Costs are those of one image: the published network at 256x256, and the preset `edge` at
    128x128. Speed and accuracy are what was measured with that preset, data set by data set.
    """
    from edge_ad.cli.verbs import unknown
    from edge_ad.errors import UsageError
    from edge_ad.methods.catalogue import CARDS

    known = [entry.name for entry in CARDS]
    if name is not None and name not in known:
        raise UsageError(unknown("method", name, known))
    chosen = [entry for entry in CARDS if name in (None, entry.name)]
    measured = _shipped() if results is None else _measured(results)
    if as_json:
        rows = [entry.as_json() | {"measured": measured.get(entry.name, [])} for entry in chosen]
        return emit({"type": "methods", "methods": rows})
    lines = _table(chosen, measured) if name is None else _told(chosen[0], measured)
    for line in lines:
        click.echo(line)


def _shipped() -> dict[str, list[dict[str, Any]]]:
    """Per method, the measurements that came with this version."""
    text = resources.files("edge_ad.methods").joinpath(SHIPPED).read_text(encoding="utf-8")
    found: dict[str, list[dict[str, Any]]] = json.loads(text)
    return found


def _measured(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Per method, the measurements found in result files: data set, metrics, milliseconds.

    Raises DataError when there is no such folder, or a file in it is something else.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Expected result files of bench_{BENCH} there.")
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob(f"*-{BENCH}-*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            row = {**record["metrics"], "device": record["device"], "file": str(path)}
            method = record["settings"]["method"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not a result file of bench_{BENCH} ({error!r}).") from error
        found.setdefault(method, []).append(row)
    return found


def _table(entries: list[MethodCard], measured: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    yield f"{'method':8} {'parameters':>16} {'GFLOPs':>12}  {'fidelity':13} needs"
    yield f"{'':8} {'full / edge':>16} {'full / edge':>12}"
    for one in entries:
        size = f"{one.full.parameters_m:.1f} / {one.edge.parameters_m:.1f} M"
        work = f"{one.full.gflops:.0f} / {one.edge.gflops:.1f}"
        yield f"{one.name:8} {size:>16} {work:>12}  {one.fidelity:13} {one.needs}"
    yield ""
    for one in entries:
        yield f"{one.name:8} {one.title}: {one.idea}"
        yield f"{'':8} choose it for: {one.choose}"
        for row in measured.get(one.name, []):
            yield f"{'':8} measured: {_figures(row)}"
    yield ""
    yield "more: edge-ad methods NAME; train one: edge-ad train --method NAME [--preset edge]"


def _told(entry: MethodCard, measured: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    rows = {
        "method": f"{entry.title}: {entry.idea}",
        "needs": entry.needs,
        "choose": entry.choose,
        "fidelity": entry.fidelity,
        "source": entry.source,
        "full": f"{entry.full.parameters_m} M parameters, {entry.full.gflops} GFLOPs at 256x256",
        "edge": f"{entry.edge.parameters_m} M parameters, {entry.edge.gflops} GFLOPs at 128x128",
    }
    for name, value in rows.items():
        yield f"{name:9} {value}"
    for row in measured.get(entry.name, []):
        yield f"{'measured':9} {_figures(row)}"
        yield f"{'':9} {_where(row)}"


def _figures(row: dict[str, Any]) -> str:
    figures = [f"{title} {row[key]:.3f}" for key, title in _METRICS if row.get(key) is not None]
    if "engine_ms" in row:
        figures.append(f"{row['engine_ms']:.1f} ms on {row['device']}")
    spent = row.get("processor_minutes") or row["minutes"]
    return f"{row['data']}, {spent:.0f} min of training: {', '.join(figures)}"


def _where(row: dict[str, Any]) -> str:
    """The other precisions, and the machine or file that the figures are from."""
    rows = row.get("precisions", {}).items()
    told = [
        f"{name}: image AUROC {one['image_auroc']:.3f}, {one['engine_ms']:.1f} ms"
        for name, one in rows
        if "image_auroc" in one
    ]
    machine = f"{row['cpu']}, {row['cores']} cores" if "cpu" in row else str(row.get("file", ""))
    return "; ".join([*told, machine])
