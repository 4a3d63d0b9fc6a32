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
_NAMED = 10  # files left out; the others are counted
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
    from edge_ad.dataset import left_out_beside, list_normal_images
    from edge_ad.geometry import Geometry
    from edge_ad.images.bit_depth import BitDepth, ImageReader, find_depth
    from edge_ad.images.grey_levels import warning_of_levels
    from edge_ad.parts.assignment import assign_parts
    from edge_ad.parts.survey import survey_images

    _check(options)
    images, bits = list_normal_images(folder), options["bit_depth"]
    depth = find_depth(images, BitDepth(bits) if bits else None)
    read = ImageReader(depth)
    survey = survey_images(images, read)
    assignment = assign_parts(
        list(survey.sizes),
        part_id=options["part_id"],
        root=folder,
        how=options["parts_from"],
        geometry=Geometry(roi_xywh=options["roi"]),
        read=read,
    )
    beside = {Path(name): reason for name, reason in left_out_beside(images).items()}
    survey.left_out |= beside | assignment.left_out
    result = _result(folder, assignment, survey, options["confidence"])
    _write(assignment, survey, folder, read, options)
    emit(result) if as_json else click.echo(_text(result))
    coarse = warning_of_levels(list(survey.sizes), depth)
    for line in [*filter(None, [coarse]), *_warnings(result, assignment, survey, options)]:
        click.echo(f"Warning: {line}", err=True)


def _check(options: dict[str, Any]) -> None:
    """Refuse before the images are read what would fail afterwards."""
    from edge_ad.errors import UsageError
    from edge_ad.parts.split import check_split_file

    if (sheet := options["sheet"]) is not None and (sheet.suffix != ".png" or sheet.is_dir()):
        raise UsageError(f"--sheet {sheet}: expected the name of a file that ends in .png.")
    if options["split"] is not None:
        check_split_file(options["split"])
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


def _result(
    folder: Path, assignment: PartAssignment, survey: Survey, confidence: float
) -> dict[str, Any]:
    from dataclasses import asdict
    from statistics import median

    from edge_ad.parts import supported_rate

    recognition = assignment.recognition
    sizes = [len(paths) for paths in assignment.groups().values()]
    counts: dict[str, int] = {}
    for path in assignment.parts:
        height, width = survey.sizes[path]
        counts[f"{width}x{height}"] = counts.get(f"{width}x{height}", 0) + 1
    levels = [survey.brightness[path] for path in assignment.parts]
    used = [pair for pair in survey.duplicates if set(pair) <= set(assignment.parts)]
    return {
        "type": "dataset",
        "folder": str(folder),
        "files": len(assignment.parts) + len(survey.left_out),
        "images": len(assignment.parts),
        "parts": len(sizes),
        "images_per_part": {"min": min(sizes), "median": median(sizes), "max": max(sizes)},
        "upper_bound": assignment.is_upper_bound,
        "decided_by": assignment.how.value,
        "detail": assignment.detail,
        "doubt": assignment.doubt or None,
        "second_exposures": asdict(recognition) if recognition else None,
        "duplicates": len(used),
        "duplicate_of": {str(image): str(first) for image, first in used},
        "odd": {str(path): why for path, why in survey.odd.items() if path in assignment.parts},
        "left_out": {str(path): why for path, why in survey.left_out.items()},
        "sizes": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        "brightness": {"min": min(levels), "median": median(levels), "max": max(levels)},
        "supported_rate": supported_rate(len(sizes), confidence),
        "confidence": confidence,
        "part_of": {str(path): part for path, part in assignment.parts.items()},
    }


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


def _text(result: dict[str, Any]) -> str:
    from edge_ad.files import printable

    per, light, sizes = result["images_per_part"], result["brightness"], list(result["sizes"])
    several = f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""
    rows = [
        ("images", f"{result['images']} of {result['files']} files"),
        ("parts", f"{_at_most(result)}{result['parts']} ({result['detail']})"),
        ("per part", f"{per['min']} to {per['max']} images, median {per['median']:g}"),
        ("duplicates", f"{result['duplicates']} near-duplicates of other images"),
        ("sizes", ", ".join(f"{size} ({result['sizes'][size]})" for size in sizes[:3]) + several),
        ("brightness", f"{light['min']:.0f} to {light['max']:.0f}, median {light['median']:.0f}"),
        ("guarantee", _guarantee(result)),
    ]
    rows += [("odd", f"{path}: {why}") for path, why in result["odd"].items()]
    left_out = [f"{path}: {why.removeprefix(f'{path}: ')}"
                for path, why in result["left_out"].items()]  # fmt: skip
    if len(left_out) > _NAMED + 1:
        left_out[_NAMED:] = [f"{len(left_out) - _NAMED} more files (all with --json)"]
    rows += [("left out", text) for text in left_out]
    return "\n".join(f"{name:12}{printable(value)}" for name, value in rows)


def _at_most(result: dict[str, Any]) -> str:
    return "at most " if result["upper_bound"] else ""


def _guarantee(result: dict[str, Any]) -> str:
    from edge_ad.parts import rounded_up

    so_many = "there are so many and " if result["upper_bound"] else ""
    return (
        f"a false-alarm rate of {rounded_up(result['supported_rate']):g} at best, "
        f"with confidence {result['confidence']:g}, if {so_many}none of these parts is trained on"
    )


def _warnings(
    result: dict[str, Any],
    assignment: PartAssignment,
    survey: Survey,
    options: dict[str, Any],
) -> list[str]:
    from edge_ad.parts import parts_needed, rounded_up

    lines = [assignment.doubt] if assignment.doubt else []
    parts = assignment.parts
    split = [(one, two) for one, two in survey.duplicates
             if one in parts and two in parts and parts[one] != parts[two]]  # fmt: skip
    if split:
        one, two = split[0]
        lines.append(
            f"{len(split)} near-duplicates are of another part than the image they repeat, like "
            f"{one} of part '{parts[one]}' and {two} of part '{parts[two]}'. If they show one "
            "part, correct its name: otherwise it is trained on and tested on."
        )
    rate, confidence = options["false_alarm_rate"], options["confidence"]
    if rate is not None and result["parts"] < (needed := parts_needed(rate, confidence)):
        lines.append(
            f"A false-alarm rate of {rate:g} with confidence {confidence:g} needs {needed} parts "
            f"that were not trained on; here are {_at_most(result)}{result['parts']}, which "
            f"support {rounded_up(result['supported_rate']):g}. Collect images of more parts."
        )
    return lines
