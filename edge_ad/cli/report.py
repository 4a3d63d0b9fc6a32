"""`edge-ad report`: a shift on one page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edge_ad.cli.options import emit, shared
from edge_ad.errors import UsageError


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The page (.html)."
)
@click.option(
    "--since",
    default="8h",
    show_default=True,
    metavar="TIME",
    help="Its beginning: an age (30m, 8h, 2d) or a time (2026-11-28T06:00).",
)
@click.option("--until", metavar="TIME", help="Its end [default: now].")
@click.option(
    "--images",
    default=50,
    show_default=True,
    type=click.IntRange(0),
    help="Evidence images in the page: of the newest alarms, then of the newest rejected parts.",
)
@shared
def command(*, folder: Path, output: Path, as_json: bool, **options: Any) -> None:
    """Write one HTML page about a span of time on a line: parts, alarms, images, interruptions.

    DIR is the output folder of a line, which may run meanwhile.
    """
    from edge_ad.cli.output import output_file
    from edge_ad.clock import now_utc, parse_time
    from edge_ad.files import write_text
    from edge_ad.outlet.shift_report import shift_page
    from edge_ad.store.shift import summarise_shift

    since = parse_time(options["since"])
    until = parse_time(options["until"]) if options["until"] else now_utc()
    if since >= until:
        raise UsageError(f"--since {since} does not lie before --until {until}.")
    with output_file(output, ".html") as path:
        shift = summarise_shift(folder, since, until)
        write_text(path, shift_page(shift, folder, options["images"]))
    cameras = {name: asdict(counts) for name, counts in shift.cameras.items()}
    if as_json:
        emit(
            {"type": "report", "file": str(output), "since": since, "until": until}
            | {"cameras": cameras, "alarms": shift.alarm_count, "rejects": shift.reject_count}
        )
        return
    judged = sum(counts.judged for counts in shift.cameras.values())
    rejected = sum(counts.rejected for counts in shift.cameras.values())
    click.echo(f"{output}: {judged} parts, {rejected} rejected, alarms: {shift.alarm_count}")
