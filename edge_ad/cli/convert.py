"""`edge-ad convert`: write an fp32 engine file in another precision."""

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
@click.argument("engine", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Default: ENGINE.PRECISION.onnx."
)
@click.option(
    "--precision",
    type=click.Choice(FLOAT_PRECISIONS),
    required=True,
    help="fp16 where it is safe; fp32 only undoes export's --store-weights int8.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Folder of images for ranges and comparison; generated frames otherwise.",
)
@click.option(
    "--frames",
    type=click.IntRange(1, 10000),
    default=8,
    show_default=True,
    help="How many frames to measure and compare.",
)
@shared
def command(
    *, engine: Path, output: Path | None, precision: str, as_json: bool, **options: Any
) -> None:
    """Turn ENGINE (.onnx, fp32) into a file of another precision, checked against it.

    With fp16, values that it cannot represent stay in fp32: norms, differences, the score, the last
    layer, and what leaves its range on the frames. A difference beyond the tolerance ends with
    exit code 4.
    """
    out = output or engine.with_name(f"{engine.stem.removesuffix('.fp32')}.{precision}.onnx")
    if out.absolute() == engine.absolute():
        raise UsageError(f"-o {out}: that is the file to convert. Choose another name.")
    with output_file(out, ".onnx"):
        report = _convert(engine, out, {**options, "precision": precision})
    emit(report) if as_json else click.echo(format_report(report))


def _convert(engine: Path, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    try:
        from edge_ad.export.convert import ConvertConfig, convert_engine

        return convert_engine(engine, out, ConvertConfig(**options), _print_step)
    except ModuleNotFoundError as error:
        raise MissingExtra("convert", str(error.name), "export") from error


def _print_step(step: str) -> None:
    click.echo(step, err=True)
