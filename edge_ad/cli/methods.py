"""`edge-ad methods`: compare the methods by needs, costs and measured figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.cli.verbs import unknown
from edge_ad.errors import DataError, UsageError
from edge_ad.files import check_folder
from edge_ad.methods.registry import MethodCost, MethodEntry, all_methods, method_costs

BENCH = "methods"  # the name of benchmarks/bench_methods.py in its result files
SHIPPED = "measured.json"  # their figures, in the package: benchmarks/report.py writes them
_METRICS = (("image_auroc", "image AUROC"), ("pixel_ap", "pixel AP"), ("aupro", "AUPRO"))
_Rows = dict[str, list[dict[str, Any]]]


@click.command()
@click.argument("name", required=False)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of result files of benchmarks/bench_methods.py, in place of the shipped figures.",
)
@shared
def command(*, name: str | None, results: Path | None, as_json: bool) -> None:
    """Compare the methods, or describe the one called NAME.

    Costs are those of one image: the published network at 256x256, and the preset `edge` at
    128x128. Speed and accuracy were measured with that preset, data set by data set.
    """
    known = all_methods()
    if name is not None and name not in known:
        raise UsageError(unknown("method", name, known))
    entries = [entry for entry in known.values() if name in (None, entry.name)]
    measured = shipped_figures() if results is None else _figures_in(results)
    if as_json:
        rows = [_as_json(entry, measured) for entry in entries]
        return emit({"type": "methods", "methods": rows})
    lines = _table(entries, measured) if name is None else _description(entries[0], measured)
    for line in lines:
        click.echo(line)


def shipped_figures() -> _Rows:
    """Return the measurements of each method that came with this version."""
    text = resources.files("edge_ad.methods").joinpath(SHIPPED).read_text(encoding="utf-8")
    figures: _Rows = json.loads(text)
    return figures


def _figures_in(folder: Path) -> _Rows:
    """Return the measurements of each method in a folder of result files.

    Raises DataError when there is no such folder, or a file in it is something else.
    """
    check_folder(folder, f"result files of bench_{BENCH}")
    figures: _Rows = {}
    for path in sorted(folder.glob(f"*-{BENCH}-*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            row = {**record["metrics"], "device": record["device"], "file": str(path)}
            method = record["settings"]["method"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: not a result file of bench_{BENCH} ({error!r}).") from error
        figures.setdefault(method, []).append(row)
    return figures


def _as_json(entry: MethodEntry, measured: _Rows) -> dict[str, Any]:
    costs = method_costs().get(entry.name)
    computed = {} if costs is None else costs.as_json()
    return entry.as_json() | computed | {"measured": measured.get(entry.name, [])}


def _table(entries: list[MethodEntry], measured: _Rows) -> Iterator[str]:
    yield f"{'method':9} {'parameters':>16} {'GFLOPs':>12}  {'fidelity':13} needs"
    yield f"{'':9} {'full / edge':>16} {'full / edge':>12}"
    for entry in entries:
        parameters = gflops = "not computed"
        if costs := method_costs().get(entry.name):
            parameters = f"{costs.full.parameters_m:.1f} / {costs.edge.parameters_m:.1f} M"
            gflops = f"{costs.full.gflops:.0f} / {costs.edge.gflops:.1f}"
        yield f"{entry.name:9} {parameters:>16} {gflops:>12}  {entry.fidelity:13} {entry.needs}"
    yield ""
    for entry in entries:
        yield f"{entry.name:9} {entry.title}: {entry.idea}"
        yield f"{'':9} choose it for: {entry.choose}"
        for row in measured.get(entry.name, []):
            yield f"{'':9} measured: {_figures(row)}"
    yield ""
    yield "more: edge-ad methods NAME; train one: edge-ad train --method NAME [--preset edge]"


def _description(entry: MethodEntry, measured: _Rows) -> Iterator[str]:
    costs = method_costs().get(entry.name)
    rows = {
        "method": f"{entry.title}: {entry.idea}",
        "needs": entry.needs,
        "choose": entry.choose,
        "fidelity": entry.fidelity,
        "source": entry.source,
        "full": _cost(costs.full if costs else None, 256),
        "edge": _cost(costs.edge if costs else None, 128),
    }
    for name, value in rows.items():
        yield f"{name:9} {value}"
    for row in measured.get(entry.name, []):
        yield f"{'measured':9} {_figures(row)}"
        yield f"{'':9} {_other_precisions(row)}"


def _cost(cost: MethodCost | None, side: int) -> str:
    if cost is None:  # a method that was just added
        return "not computed yet: python benchmarks/method_costs.py"
    return f"{cost.parameters_m} M parameters, {cost.gflops} GFLOPs at {side}x{side}"


def _figures(row: dict[str, Any]) -> str:
    figures = [f"{title} {row[key]:.3f}" for key, title in _METRICS if row.get(key) is not None]
    if "engine_ms" in row:
        figures.append(f"{row['engine_ms']:.1f} ms on {row['device']}")
    minutes = row.get("processor_minutes") or row["minutes"]
    return f"{row['data']}, {minutes:.0f} min of training: {', '.join(figures)}"


def _other_precisions(row: dict[str, Any]) -> str:
    """Return the figures of every precision, and the machine or file they are from."""
    figures = [
        f"{name}: image AUROC {values['image_auroc']:.3f}, {values['engine_ms']:.1f} ms"
        for name, values in row.get("precisions", {}).items()
        if "image_auroc" in values
    ]
    machine = f"{row['cpu']}, {row['cores']} cores" if "cpu" in row else str(row.get("file", ""))
    return "; ".join([*figures, machine])
