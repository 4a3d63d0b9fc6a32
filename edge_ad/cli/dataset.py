"""`edge-ad dataset`: what a folder of good images holds, by part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.geometry import roi_option
from edge_ad.cli.option_groups import GroupedCommand
from edge_ad.cli.options import emit, shared
from edge_ad.cli.parts import parts_options
from edge_ad.cli.types import NumberRange

if TYPE_CHECKING:
    from edge_ad.images.bit_depth import ReadImage
    from edge_ad.parts.assignment import PartAssignment
    from edge_ad.parts.survey import Survey

_SHARES = "train=0.8,selection=0.1,threshold=0.1"
_SHARE = NumberRange(0, 1, min_open=True, max_open=True)


@click.command(cls=GroupedCommand)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@parts_options
@click.option("--sheet", type=click.Path(path_type=Path), help="Write a contact sheet (PNG).")
@click.option("--split", type=click.Path(path_type=Path), help="Write the split (.csv or .yaml).")
@click.option(
    "--shares", default=_SHARES, show_default=True, help="Sets and their shares of parts."
)
@click.option("--seed", default=0, show_default=True, type=int, help="Seed of the split.")
@click.option(
    "--false-alarm-rate", type=_SHARE, help="Warn when the parts are too few for this rate."
)
@click.option(
    "--confidence", default=0.95, show_default=True, type=_SHARE, help="Confidence of that rate."
)
@click.option(
    "--bit-depth",
    type=click.IntRange(8, 16),
    help="Bits that the sensor fills in 16-bit images [default: found from the images].",
)
@roi_option
@shared
def command(*, folder: Path, as_json: bool, **options: Any) -> None:
    """Print what a folder of good images holds: parts, near-duplicates, odd images, lighting.

    Images of one part are not independent, so a detector is trained, chosen and given its threshold
    on different parts. Parts come from --part-id, or else from parts.csv, from what capture wrote,
    from sub-folders, from common patterns of names, or from the images themselves.
    """
    from edge_ad.cli.dataset_format import format_result, result_of, warnings
    from edge_ad.dataset import left_out_beside, list_normal_images
    from edge_ad.images.bit_depth import BitDepth, ImageReader, find_depth
    from edge_ad.images.grey_levels import warning_of_levels
    from edge_ad.parts.survey import survey_images

    _check(options)
    images, bits = list_normal_images(folder), options["bit_depth"]
    depth = find_depth(images, BitDepth(bits) if bits else None)
    read = ImageReader(depth)
    survey = survey_images(images, read)
    assignment = _assign(survey, folder, read, options)
    beside = {Path(name): reason for name, reason in left_out_beside(images).items()}
    survey.left_out |= beside | assignment.left_out
    result = result_of(folder, assignment, survey, options["confidence"])
    _write(assignment, survey, folder, read, options)
    emit(result) if as_json else click.echo(format_result(result))
    if coarse := warning_of_levels(list(survey.sizes), depth):
        click.echo(f"Warning: {coarse}", err=True)
    for line in warnings(result, assignment, survey, options["false_alarm_rate"]):
        click.echo(f"Warning: {line}", err=True)


def _check(options: dict[str, Any]) -> None:
    """Refuse before the images are read what would fail afterwards."""
    from edge_ad.cli.output import check_output_file, check_writable
    from edge_ad.parts.split import check_split_file

    if options["sheet"] is not None:
        check_output_file(options["sheet"], ".png", "--sheet")
    if options["split"] is not None:
        check_split_file(options["split"])
        check_writable(options["split"])
    options["shares"] = _shares(options["shares"])


def _shares(text: str) -> dict[str, float]:
    """Parse 'train=0.8,threshold=0.2'."""
    from edge_ad.errors import UsageError

    shares: dict[str, float] = {}
    for item in text.split(","):
        name, _, value = item.partition("=")
        try:
            share = float(value)
        except ValueError:
            share = 0.0
        if not name.strip() or name.strip() in shares or not 0 < share < float("inf"):
            raise UsageError(
                f"--shares {text}: expected different names with positive shares, like {_SHARES}; "
                f"got '{item}'."
            )
        shares[name.strip()] = share
    return shares


def _assign(
    survey: Survey, folder: Path, read: ReadImage, options: dict[str, Any]
) -> PartAssignment:
    from edge_ad.geometry import Geometry
    from edge_ad.parts.assignment import assign_parts

    return assign_parts(
        list(survey.sizes),
        part_id=options["part_id"],
        root=folder,
        how=options["parts_from"],
        geometry=Geometry(roi_xywh=options["roi"]),
        read=read,
    )


def _write(
    assignment: PartAssignment,
    survey: Survey,
    root: Path,
    read: ReadImage,
    options: dict[str, Any],
) -> None:
    """Write the files that were asked for; raise OutletLost when one cannot be written."""
    from edge_ad.cli.output import writing
    from edge_ad.images import write_image
    from edge_ad.parts.sheet import draw_sheet
    from edge_ad.parts.split import split_parts, write_split

    sheet, split = options["sheet"], options["split"]
    sets = split_parts(assignment, options["shares"], options["seed"]) if split else {}
    if split is not None:
        with writing(split):
            write_split(split, assignment, sets, root)
    if sheet is not None:
        with writing(sheet):
            write_image(sheet, draw_sheet(assignment.groups(), survey.odd, read))
