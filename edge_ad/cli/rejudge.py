"""`edge-ad rejudge`: judge an archive of images again."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from edge_ad.cli.bit_depth import bit_depth_option
from edge_ad.cli.engine import engine_options
from edge_ad.cli.geometry import geometry_options
from edge_ad.cli.option_groups import GroupedCommand
from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import check_output_file
from edge_ad.cli.signals import Signals
from edge_ad.cli.types import Number


@click.command(cls=GroupedCommand)
@click.option("--engine", required=True, type=click.Path(path_type=Path), help="Engine file.")
@click.option(
    "--images",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder, with all below it; or a list: .txt, .csv or .parquet with a column path.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Result (.parquet). The same command continues one that was cut off.",
)
@click.option(
    "--against", type=click.Path(path_type=Path), help="Other engine; compare their verdicts."
)
@click.option("--maps", is_flag=True, help="Write each anomaly map into the result.")
@click.option(
    "--workers",
    type=click.IntRange(1, 4096),
    default=1,
    show_default=True,
    help="Processes, or actors of --ray.",
)
@click.option("--ray", metavar="ADDRESS", help="Use a Ray cluster: HOST:PORT, or local.")
@click.option("--threshold", type=Number(), help="Reject above this score, not the stored one.")
@click.option("--pixel-threshold", type=Number(), help="Outline above this, not the stored one.")
@click.option("--overwrite", is_flag=True, help="Begin again, and replace an older result.")
@geometry_options
@bit_depth_option
@engine_options
@shared
def command(*, as_json: bool, engine_options: Any, **given: Any) -> None:
    """Judge all images of an archive again, one row of a Parquet file for each.

    An image gets the score and the verdict that `run` gives it. One that cannot be read is a row,
    too: INVALID, with the reason. Killed at any time, the same command goes on where it was, and
    no image is lost or judged twice. With --against, a sheet shows where two engines differ most.
    """
    output: Path = given["output"]
    check_output_file(output, ".parquet")
    from edge_ad.rejudge.session import RejudgeConfig, RejudgeSession

    stop = threading.Event()
    terminal = sys.stderr.isatty()
    config = RejudgeConfig(options=engine_options, **given)
    session = RejudgeSession(
        config, lambda line: click.echo(line, err=True), stop, terminal=terminal
    )
    with Signals(stop) as signals:
        summary = session.run()
    if summary is None:
        click.echo(f"interrupted; the same command continues {output}", err=True)
        sys.exit(130 if signals.received else 1)
    if as_json:
        emit({"type": "rejudge"} | summary)
    else:
        for line in _lines(summary):
            click.echo(line)


def _lines(summary: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{summary['images']} images: {summary['pass']} PASS, {summary['reject']} REJECT, "
        f"{summary['invalid']} INVALID"
    )
    if summary["judged_now"]:
        before = f", {summary['judged_before']} before" if summary["judged_before"] else ""
        rate = summary["images_per_s"]
        yield f"judged {summary['judged_now']} now{before}, {rate:.3g} images/s"
    for reason in summary["invalid_examples"]:
        yield f"  INVALID: {reason}"
    if summary["repeated"]:
        yield f"{summary['repeated']} entries of the list name an image again; it is judged once."
    if summary["left_out"]:
        yield f"{summary['left_out']} files are masks or no images."
    if against := summary.get("against"):
        yield _against_line(against)
        yield f"sheet: {against['sheet']}"
    yield f"result: {summary['output']}"


def _against_line(against: dict[str, Any]) -> str:
    steps = [
        f"{count} {step.replace('>', ' -> ')}"
        for step, count in against["verdicts"].items()
        if len(set(step.split(">"))) == 2
    ]
    return (
        f"against {against['engine']}: {against['flips']} verdicts differ"
        f"{' (' + ', '.join(steps) + ')' if steps else ''}, {against['same']} are the same"
    )
