"""`edge-ad evaluate`: measure a detector on labelled pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.geometry import geometry_from, geometry_options
from edge_ad.cli.options import emit, shared

if TYPE_CHECKING:
    from edge_ad.evaluation.judged import Judged, Unreadable

_SHOWN = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "iap", "iap90")


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder in MVTec AD's layout: test/good, test/<type>, ground_truth/<type>.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for report.json, curves.png and misses.png.",
)
@geometry_options
@click.option("--device", default="cpu", show_default=True, help="Where torch runs weights.")
@click.option("--threads", default=0, type=click.IntRange(0), help="Engine threads.")
@shared
def command(
    *,
    artifact: Path,
    data: Path,
    output: Path | None,
    as_json: bool,
    device: str,
    threads: int,
    **options: Any,
) -> None:
    """Measure weights or an engine on labelled pictures.

    Image AUROC, pixel AUROC, pixel AP, AUPRO (up to 0.3), IAP and IAP@90, overall and per defect
    type, with curves and the worst misses as pictures.
    """
    from edge_ad.cli.artifact import open_artifact
    from edge_ad.evaluation.judged import Unreadable
    from edge_ad.evaluation.summary import metrics_of
    from edge_ad.files import sha256

    left_out = Unreadable()
    with open_artifact(artifact, device=device, threads=threads) as engine:
        geometry = geometry_from(options, engine.manifest.geometry)
        judged = _judge(engine, data, geometry, left_out)
    result = {"type": "evaluation", "artifact": str(artifact), "sha256": sha256(artifact)}
    result |= metrics_of(judged) | {"unreadable": left_out.reasons}
    if output is not None:
        _write(output, result, judged)
    if as_json:
        emit(result)
    else:
        _print(result)


def _judge(engine: Any, data: Path, geometry: Any, left_out: Unreadable) -> list[Judged]:
    from rich.console import Console
    from rich.progress import track

    from edge_ad.dataset import labelled_images
    from edge_ad.errors import DataError
    from edge_ad.evaluation.judged import judge_all

    samples = labelled_images(data)
    console = Console(stderr=True)
    shown = track(samples, "judging", console=console, disable=not console.is_terminal)
    judged = list(judge_all(engine, shown, left_out, geometry))
    if not judged:
        first = next(iter(left_out.reasons.values()))
        raise DataError(f"{data}: none of its {len(samples)} pictures can be read. {first}")
    for reason in left_out.reasons.values():
        click.echo(f"left out: {reason}", err=True)
    return judged


def _write(folder: Path, result: dict[str, Any], judged: list[Judged]) -> None:
    from edge_ad.evaluation.pictures import write_curves, write_misses
    from edge_ad.files import write_text

    write_text(folder / "report.json", json.dumps(result, indent=2) + "\n")
    write_curves(judged, folder / "curves.png")
    write_misses(judged, folder / "misses.png")


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "pictures", *_SHOWN)
    rows = {"all": result} | result["by_type"]
    for name, numbers in rows.items():
        values = ["-" if numbers[key] is None else f"{numbers[key]:.4f}" for key in _SHOWN]
        table.add_row(name, f"{numbers['good']} + {numbers['defective']}", *values)
    console = Console()
    Console(width=None if console.is_terminal else 110).print(table)
    if result["tiny_defects"]:
        click.echo(f"{result['tiny_defects']} of {result['defects']} defects have 1 or 2 pixels.")
