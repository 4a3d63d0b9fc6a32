"""`edge-ad export`: write an engine file from weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import output_file
from edge_ad.cli.parity import format_report
from edge_ad.errors import MissingExtra, UsageError
from edge_ad.precision import FLOAT_PRECISIONS


@click.command()
@click.argument("weights", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default: WEIGHTS.onnx.")
@click.option("--batch", type=click.IntRange(1, 1024), help="Images a call; 1 unless given.")
@click.option("--dynamic-batch", is_flag=True, help="Any number of images a call.")
@click.option(
    "--precision",
    type=click.Choice(FLOAT_PRECISIONS),
    default="fp32",
    show_default=True,
    help="fp16: where it is safe; norms, differences, score and last layer stay in fp32.",
)
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
    help="Folder of images for the comparison with torch; generated frames otherwise.",
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
    **options: Any,
) -> None:
    """Turn WEIGHTS (.pt) into an engine file (.onnx) for ONNX Runtime and TensorRT.

    The file is written only if its output matches torch's; a difference beyond the tolerance ends
    with exit code 4 and leaves no file.
    """
    if dynamic_batch and batch is not None:
        raise UsageError("--batch and --dynamic-batch exclude each other; give one.")
    if options["precision"] == "fp16" and options["store_weights"] == "int8":
        raise UsageError("--store-weights int8 is a form of fp32 files; leave --precision out.")
    options["batch"] = None if dynamic_batch else batch or 1
    with output_file(output or weights.with_suffix(".onnx"), ".onnx") as out:
        report = _export(weights, out, options)
    emit(report) if as_json else click.echo(format_report(report))


def _export(weights: Path, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    try:
        from edge_ad.export.engine_file import ExportConfig, export_engine

        return export_engine(weights, out, ExportConfig(**options), _print_step)
    except ModuleNotFoundError as error:
        raise MissingExtra("export", str(error.name), "export") from error


def _print_step(step: str) -> None:
    click.echo(step, err=True)
