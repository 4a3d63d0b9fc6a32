"""The verb `edge-ad capture`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.bit_depth import bit_depth_option
from edge_ad.cli.capture_parts import ENTER, open_parts
from edge_ad.cli.capture_writer import MIB, CaptureLimits, CaptureWriter
from edge_ad.cli.geometry import ignore_option, roi_option
from edge_ad.cli.option_groups import GroupedCommand
from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import check_writable
from edge_ad.cli.signals import Signals
from edge_ad.cli.types import NumberRange
from edge_ad.errors import UsageError
from edge_ad.source.registry import camera_help
from edge_ad.wording import counted

if TYPE_CHECKING:
    from edge_ad.source import Source
    from edge_ad.source.selection import Selection


@click.command(cls=GroupedCommand)
@click.option(
    "--camera",
    required=True,
    metavar="URI",
    help=f"{camera_help()}.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the images. One that has images is continued.",
)
@click.option("--every", type=click.IntRange(1), help="Take every n-th frame [default: all].")
@click.option(
    "--every-s", type=NumberRange(0, min_open=True), help="Take one frame per this many seconds."
)
@click.option(
    "--count",
    default=500,
    show_default=True,
    type=click.IntRange(1),
    help="Stop after this many images.",
)
@click.option(
    "--max-mib",
    default=2048,
    show_default=True,
    type=click.IntRange(1),
    help="Stop after this much disk space.",
)
@click.option("--duration-s", type=NumberRange(0, min_open=True), help="Stop after this time.")
@click.option(
    "--min-difference",
    type=NumberRange(0, 255),
    help="Leave out frames closer than this to a kept one, in grey levels; 0 keeps all.  "
    "[default: 2; 0 with a trigger]",
)
@click.option(
    "--timeout-s",
    default=10.0,
    show_default=True,
    type=NumberRange(0, min_open=True),
    help="Treat the camera as lost after this time without a frame.",
)
@click.option(
    "--part", metavar="ID", help="Note this part for all images, for `dataset`, `train` and others."
)
@click.option(
    "--trigger",
    metavar="TRIGGER",
    help=f"Take one image of each part: {ENTER} (at each line of stdin, whose text is the part's "
    "name, typed or scanned), or an input like gpio:CHIP/LINE. Default: frames as they come.",
)
@roi_option
@ignore_option
@bit_depth_option
@shared
def command(*, as_json: bool, camera: str, output: Path, timeout_s: float, **options: Any) -> None:
    """Collect images of good parts from a camera, a video or the synthetic line.

    Whole frames are saved, losslessly. The region of interest, which train, threshold and run cut
    out themselves, is used here only to detect near-duplicates. Frames that cannot be judged
    (black, frozen, torn) are left out. Images of a folder keep their names. capture.jsonl beside
    the images has the time and part of each.
    """
    _check_interval(options)
    check_writable(output / "capture.jsonl")
    stop = threading.Event()
    with (
        Signals(stop) as signals,
        open_parts(camera, options["trigger"], options["part"], timeout_s) as parts,
        _open(camera, timeout_s, options) as source,
    ):
        limits = CaptureLimits(options["count"], options["max_mib"] * MIB, options["duration_s"])
        least = _min_difference(options["min_difference"], distinct=parts.distinct)
        selection = _selection(source, options, least)
        earlier = _remember_images(output, selection) if least else 0
        writer = CaptureWriter(output, source, selection, earlier, parts=parts)
        try:
            writer.write_until(limits, stop)
        finally:
            _print_summary(writer.summary(), as_json=as_json)
    if signals.received == signal.SIGINT:
        raise KeyboardInterrupt


def _open(camera: str, timeout_s: float, options: dict[str, Any]) -> Source:
    from edge_ad.images import BitDepth
    from edge_ad.source import open_source

    given = options["bit_depth"]
    return open_source(
        camera, timeout_s=timeout_s, bit_depth=BitDepth(given) if given is not None else None
    )


def _min_difference(given: float | None, *, distinct: bool) -> float:
    from edge_ad.dedup import MIN_DIFFERENCE

    if given is not None:
        return given
    return 0.0 if distinct else MIN_DIFFERENCE


def _selection(source: Source, options: dict[str, Any], min_difference: float) -> Selection:
    from edge_ad.geometry import Geometry
    from edge_ad.source.selection import Selection

    if options["every_s"] and not source.live:
        raise UsageError(
            f"--every-s: {source.name} is read as fast as possible and has no clock. Use --every."
        )
    return Selection(
        live=source.live,
        every=options["every"] or 1,
        every_s=options["every_s"] or 0.0,
        min_difference=min_difference,
        geometry=Geometry(roi_xywh=options["roi"], ignore=options["ignore"]),
    )


def _check_interval(options: dict[str, Any]) -> None:
    if options["every"] and options["every_s"]:
        raise UsageError("--every and --every-s exclude each other: give one of them.")
    if options["trigger"] and (options["every"] or options["every_s"]):
        raise UsageError("--trigger takes one image a trigger: leave --every and --every-s out.")


def _remember_images(folder: Path, selection: Selection) -> int:
    """Let the selection know the folder's images, so that near-duplicates of them are left out.

    Return their number. Files that cannot be read, or are too small for the region of interest,
    are named on stderr and not compared.
    """
    from edge_ad.images import list_folder, read_image

    paths = list_folder(folder).images if folder.is_dir() else ()
    for path in paths:
        try:
            selection.remember(read_image(path))
        except UsageError as error:
            click.echo(f"not compared with: {path.name}: {error}", err=True)
    return len(paths)


def _earlier(summary: dict[str, Any]) -> str:
    return f", beside {summary['earlier']} earlier ones" if summary["earlier"] else ""


def _print_summary(summary: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit(summary)
        return
    click.echo(
        f"{counted(summary['kept'], 'image')} in {summary['output']} "
        f"({summary['mib']} MiB)"
        f"{_earlier(summary)}. Left out: "
        f"{summary['duplicate']} near-duplicates, {summary['invalid']} invalid, "
        f"{summary['skipped']} skipped by --every or --every-s, {summary['dropped']} dropped. "
        f"Stopped by: {summary['stopped_by']}."
    )
    if summary["missed_triggers"]:
        click.echo(f"Missed: {summary['missed_triggers']} triggers, which have no image.")
    if summary["left_out_count"]:
        names = ", ".join(summary["left_out"])
        more = summary["left_out_count"] - len(summary["left_out"])
        rest = f" and {more} more" if more else ""
        click.echo(f"Not images: {summary['left_out_count']} files: {names}{rest}.")
