"""`edge-ad export`: weights become an engine file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import output_file
from edge_ad.errors import MissingExtra, UsageError


@click.command()
@click.argument("weights", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default: WEIGHTS.onnx.")
@click.option("--batch", type=click.IntRange(1, 1024), help="Images a call; 1 unless given.")
@click.option("--dynamic-batch", is_flag=True, help="Any number of images a call.")
@click.option(
    "--store-weights",
    type=click.Choice(["fp32", "int8"]),
    default="fp32",
    show_default=True,
    help="int8: a file a quarter as large, with rounded weights, computed in fp32 as fast.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Folder of pictures for the comparison with torch; generated frames otherwise.",
)
@click.option(
    "--frames",
    type=click.IntRange(1, 10000),
    default=8,
    show_default=True,
    help="How many frames to compare.",
)
@shared
def command(
    *,
    weights: Path,
    output: Path | None,
    batch: int | None,
    dynamic_batch: bool,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Turn WEIGHTS (.pt) into an engine file (.onnx) that ONNX Runtime and TensorRT take.

    The file is compared with torch before it gets its name; a difference beyond the tolerance
    ends with exit code 4 and leaves no file.
    """
    if dynamic_batch and batch is not None:
        raise UsageError("--batch and --dynamic-batch exclude each other; give one.")
    wishes["batch"] = None if dynamic_batch else batch or 1
    with output_file(output or weights.with_suffix(".onnx"), ".onnx") as out:
        report = _export(weights, out, wishes)
    emit(report) if as_json else click.echo(_told(report))


def _export(weights: Path, out: Path, wishes: dict[str, Any]) -> dict[str, Any]:
    try:
        from edge_ad.export.engine_file import Wishes, export_engine

        return export_engine(weights, out, Wishes(**wishes), _say)
    except ModuleNotFoundError as error:
        raise MissingExtra("export", str(error.name), "export") from error


def _say(line: str) -> None:
    click.echo(line, err=True)


def _told(report: dict[str, Any]) -> str:
    lines = [
        f"{report['engine']}: {report['bytes'] / 1e6:.1f} MB, {_figures(report['parity'])}",
        f"report: {report['engine']}.report.json",
        f"next: edge-ad threshold {report['engine']} --images GOOD_DIR",
    ]
    if "rounding" in report:
        lines.insert(1, f"8-bit weights: {_figures(report['rounding'])}")
    return "\n".join(lines)


def _figures(found: dict[str, Any]) -> str:
    return (
        f"differs from {found['against']} by at most {found['max_abs_map']:.2g} in the map "
        f"(largest {found['map_scale']:.3g}) and {found['max_abs_score']:.2g} in the score "
        f"(largest {found['score_scale']:.3g}) on {found['frames']} frames"
    )
