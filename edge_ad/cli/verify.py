"""`edge-ad verify`: compare the outputs of two artefacts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.bit_depth import bit_depth_option, read_with_depth
from edge_ad.cli.engine import engine_options, open_artifact
from edge_ad.cli.option_groups import GroupedCommand
from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import output_file
from edge_ad.cli.types import Number, NumberRange
from edge_ad.errors import GateFailed, IncompatibleError

if TYPE_CHECKING:
    from edge_ad.export.parity import Tolerance
    from edge_ad.manifest import Manifest


@click.command(cls=GroupedCommand)
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path))
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Folder of images to compare on; generated frames otherwise.",
)
@click.option(
    "--frames",
    type=click.IntRange(1, 100000),
    default=64,
    show_default=True,
    help="How many frames at most.",
)
@click.option("--threshold", type=Number(), help="Compare verdicts here; default: the stored one.")
@click.option(
    "--tolerance",
    type=NumberRange(min=0),
    help="Largest difference, as a share of the largest value; default: by precision.",
)
@click.option("--sheet", type=click.Path(path_type=Path), help="Default: OTHER.verify.png.")
@bit_depth_option
@engine_options
@shared
def command(
    *, reference: Path, other: Path, sheet: Path | None, as_json: bool, **limits: Any
) -> None:
    """Compare REFERENCE and OTHER (.pt, .onnx, .plan) on the same frames.

    A difference beyond the tolerance of the coarser precision, or a verdict that flips farther
    from the threshold than that precision explains (1 %, fp16 2 %, int8 10 %), ends with exit
    code 4. Every image is compared twice, the second time with a synthetic anomaly.
    """
    from edge_ad.triton import served_model

    beside = Path(other.name) if served_model(other) else other  # a server's model has no folder
    sheet = sheet or beside.with_name(f"{beside.name}.verify.png")
    with output_file(sheet, ".png") as image:
        result = _compare(reference, other, image, limits)
    if as_json:
        emit({"type": "verify", **result})
    else:
        for line in _lines(result):
            click.echo(line)
    if not result["within"]:
        click.echo(f"edge-ad: {result['problem']}", err=True)
        sys.exit(GateFailed.exit_code)


def _compare(reference: Path, other: Path, sheet: Path, limits: dict[str, Any]) -> dict[str, Any]:
    from edge_ad.export.comparison_frames import comparison_frames, describe_origin
    from edge_ad.export.difference_sheet import difference_sheet
    from edge_ad.export.verification import check_comparable, predict, verify
    from edge_ad.images import write_image
    from edge_ad.triton import engine_text

    options = limits["engine_options"]
    with open_artifact(reference, options) as engine:
        first = engine.manifest
        read_with_depth(reference, first.bit_depth, limits["bit_depth"], _listed(limits["images"]))
        frames = comparison_frames(first, limits["images"], limits["frames"])
        expected = predict(engine, frames.images)
    with open_artifact(other, options) as engine:
        check_comparable(first, engine.manifest, (reference, other))
        observed = predict(engine, frames.images)
        tolerance = _tolerance(first, engine.manifest, limits)
    threshold = _threshold(reference, other, limits["threshold"])
    result = verify(expected, observed, tolerance, threshold, frames.originals)
    write_image(sheet, difference_sheet(frames.images, expected, observed))
    return {
        "reference": engine_text(reference),
        "other": engine_text(other),
        "frames_from": describe_origin(limits["images"]),
        **result.as_json(),
        "left_out": dict(frames.left_out),
        "sheet": str(sheet),
    }


def _listed(folder: Path | None) -> list[Path]:
    from edge_ad.dataset import images_below

    return images_below(folder) if folder is not None and folder.is_dir() else []


def _tolerance(first: Manifest, second: Manifest, limits: dict[str, Any]) -> Tolerance:
    from edge_ad.export.parity import Tolerance
    from edge_ad.export.verification import tolerance_between

    if limits["tolerance"] is None:
        return tolerance_between(first, second)
    return Tolerance(limits["tolerance"], "given by --tolerance")


def _threshold(reference: Path, other: Path, given: float | None) -> float | None:
    """Return the threshold given, or the one stored beside the reference or the other artefact."""
    from edge_ad.sidecar import load_sidecar

    if given is not None:
        return given
    for path in (reference, other):
        try:
            sidecar = load_sidecar(path)
        except IncompatibleError as error:
            click.echo(f"ignored: {error}", err=True)
            continue
        if sidecar is not None and sidecar.threshold is not None:
            return sidecar.threshold.image
    return None


def _lines(result: dict[str, Any]) -> Iterator[str]:
    allowed = result["tolerance"]
    yield (
        f"{result['reference']} and {result['other']}, {result['frames']} frames "
        f"({result['frames_from']})"
    )
    for what in ("map", "score"):
        worst, scale = result[f"max_abs_{what}"], result[f"{what}_scale"]
        yield f"{what:<10}differs by at most {worst:.3g}; {allowed * scale:.3g} is allowed"
    order = result["spearman"]
    yield f"{'order':<10}" + ("all scores are equal" if order is None else f"Spearman {order:.5f}")
    yield f"{'verdicts':<10}{_flips(result)}"
    yield f"{'tolerance':<10}{allowed:g} of the largest value: {result['reason']}"
    yield f"{'sheet':<10}{result['sheet']}"


def _flips(result: dict[str, Any]) -> str:
    if result["threshold"] is None:
        return "not compared; give --threshold, or set one with: edge-ad threshold"
    far = f"{result['far_flips']} of them farther than {result['near']:.0%} from it"
    return f"{result['verdict_flips']} flip at the threshold {result['threshold']:.6g}, {far}"
