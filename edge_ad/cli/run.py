"""The verb `edge-ad run`."""

from __future__ import annotations

import math
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.bit_depth import bit_depth_option
from edge_ad.cli.engine import engine_options
from edge_ad.cli.geometry import geometry_options
from edge_ad.cli.line_file import LineCommand, line_config
from edge_ad.cli.line_schema import line_schema
from edge_ad.cli.options import emit, shared
from edge_ad.cli.run_check import check_run, explain
from edge_ad.cli.signals import Signals
from edge_ad.cli.types import LARGEST_COUNT, RULE_FRAMES, Number, NumberRange
from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.line.trigger_input import trigger_help
from edge_ad.outlet.registry import outlet_help
from edge_ad.source.registry import camera_help

if TYPE_CHECKING:
    from edge_ad.cli.run_outputs import Outputs
    from edge_ad.line.config import LineConfig
    from edge_ad.line.health import Watchdog
    from edge_ad.line.supervisor import Supervisor

_POSITIVE = NumberRange(0, min_open=True)
_COUNT, _SOME = click.IntRange(0, LARGEST_COUNT), click.IntRange(1, LARGEST_COUNT)


@click.command(cls=LineCommand)
@click.option(
    "--camera",
    "cameras",
    multiple=True,
    metavar="[NAME=]URI",
    help=f"{camera_help()}, with a name for records (top=URI); repeats.",
)
@click.option("--engine", type=click.Path(path_type=Path), help="Engine file.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for events, evidence images and summary; that of an earlier run is continued.",
)
@click.option("--outlet", "outlets", multiple=True, metavar="URI", help=outlet_help())
@click.option("--overwrite", is_flag=True, help="Delete an earlier run's files in that folder.")
@click.option(
    "--log-inspections",
    default="none",
    show_default=True,
    type=click.Choice(["all", "rejects", "none"]),
    help="Write inspections to inspections.jsonl in that folder.",
)
@click.option(
    "--keep-days",
    default=365.0,
    show_default=True,
    type=_POSITIVE,
    help="Delete events and statistics older than this.",
)
@click.option(
    "--keep-events",
    default=1_000_000,
    show_default=True,
    type=_SOME,
    help="Events kept; the oldest rejects are deleted first, alarms last.",
)
@click.option(
    "--keep-mib",
    default=1024,
    show_default=True,
    type=_SOME,
    help="Disk space for events and statistics.",
)
@geometry_options
@bit_depth_option
@click.option(
    "--threshold", type=Number(), help="Reject above this score instead of the stored one."
)
@click.option(
    "--expected-anomalous",
    default=0.0,
    show_default=True,
    type=NumberRange(0, 1, max_open=True),
    help="Share of anomalous parts on this line: the check of the reject rate allows for them.",
)
@click.option(
    "--frames-per-part",
    type=_SOME,
    help="Frames in a row that show one part, for the same check. Default: as the threshold was "
    "set, else 1.",
)
@click.option(
    "--pixel-threshold", type=Number(), help="Outline regions where the map exceeds this."
)
@click.option(
    "--part",
    default="stream",
    show_default=True,
    type=click.Choice(["frame", "stream"]),
    help="What one part is: every frame, each reject an event by itself, or what passes while an "
    "alarm is raised.",
)
@click.option(
    "--verdict-within-s",
    type=_POSITIVE,
    help="Make a part INVALID whose verdict comes later after its trigger or capture. Default: no "
    "limit.",
)
@click.option("--trigger", default="free", metavar="TRIGGER", help=trigger_help())
@click.option(
    "--trigger-delay-ms",
    default=0.0,
    show_default=True,
    type=NumberRange(0),
    help="Judge the first frame captured this long after its trigger.",
)
@click.option(
    "--trigger-within-ms",
    default=1000.0,
    show_default=True,
    type=_POSITIVE,
    help="Report a trigger as missed without a frame after this time more.",
)
@click.option(
    "--alarm-k",
    default=2,
    show_default=True,
    type=RULE_FRAMES,
    help="Raise an alarm at this many rejects among the last --alarm-n frames.",
)
@click.option(
    "--alarm-n",
    default=3,
    show_default=True,
    type=RULE_FRAMES,
    help="Frames that --alarm-k looks back on; as many passes in a row clear the alarm.",
)
@click.option(
    "--hysteresis",
    default=0.1,
    show_default=True,
    type=NumberRange(0, 1),
    help="Lower the threshold by this share while an alarm is raised.",
)
@click.option(
    "--evidence-count",
    default=2000,
    show_default=True,
    type=_COUNT,
    help="Evidence images kept, one for each rejected part; the oldest are deleted first.",
)
@click.option(
    "--evidence-mib",
    default=256,
    show_default=True,
    type=_SOME,
    help="Disk space for evidence images.",
)
@click.option(
    "--keep-samples-mib",
    default=0,
    show_default=True,
    type=_COUNT,
    help="Disk space for images kept for training: rejected, nearly rejected, random. 0: none.",
)
@click.option(
    "--frames", default=0, type=_COUNT, help="Stop after this many frames of each camera."
)
@click.option("--duration-s", type=_POSITIVE, help="Stop after this time.")
@click.option(
    "--timeout-s",
    default=10.0,
    show_default=True,
    type=_POSITIVE,
    help="Treat a camera as lost after this time without a frame.",
)
@click.option(
    "--reopen-for-s",
    type=NumberRange(0),
    help="Give a lost camera up after this time. Default: never.",
)
@click.option(
    "--isolate",
    is_flag=True,
    help="Read each live camera in a separate process, which is killed and started again when "
    "the camera's driver hangs or crashes.",
)
@click.option(
    "--require-cameras",
    is_flag=True,
    help="Refuse to start when a camera is absent. Default: start, and report it as a fault.",
)
@click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    help="Serve metrics to Prometheus there; HOST is 127.0.0.1 unless given.",
)
@click.option("--page", metavar="HOST:PORT", help="Serve the line's page there (edge-ad page).")
@engine_options
@click.option("--show", is_flag=True, help="Show frames and regions in a window.")
@click.option("--quiet", is_flag=True, help="Print alarms and the summary only.")
@click.option(
    "--check", is_flag=True, help="Check everything, list all problems, and print what would run."
)
@click.option("--schema", is_flag=True, help="Print the JSON schema of a line file, for editors.")
@shared
def command(
    *, as_json: bool, duration_s: float | None, check: bool, schema: bool, **options: Any
) -> None:
    """Judge frames from one or more cameras and raise alarms.

    Live cameras are judged by their newest frame, files frame by frame. The run ends with the
    files, with --frames or --duration-s, or with Ctrl-C, and prints a summary. A line file (-c) may
    list cameras with their own settings.
    """
    ctx = click.get_current_context()
    if schema:
        emit(line_schema(ctx.command))
    elif check:
        check_run(ctx, lambda: _parts(options, as_json=as_json), as_json=as_json)
    else:
        _run(ctx, options, duration_s, as_json=as_json)


def _run(
    ctx: click.Context, options: dict[str, Any], duration_s: float | None, *, as_json: bool
) -> None:
    from edge_ad.line.health import Watchdog
    from edge_ad.line.open import open_line
    from edge_ad.machine.memory import share_heaps
    from edge_ad.machine.systemd import SystemdNotifier

    share_heaps()
    stop = threading.Event()
    with ExitStack() as stack:
        signals = stack.enter_context(Signals(stop))
        config, outputs = _parts(options, as_json=as_json)
        outputs.check()
        outputs.claim(stack)
        try:
            line = stack.enter_context(open_line(config, stop=stop))
        except (UsageError, IncompatibleError):
            explain(ctx, lambda: (config, outputs))
            raise
        outputs.open(line)  # a refused start has made and removed nothing
        watchdog = Watchdog(line, SystemdNotifier(), outputs.store_problem)
        result = _watch(line, duration_s, outputs, watchdog)
        outputs.finish(result)
    line.raise_errors(terminated=signals.received not in (None, signal.SIGINT))
    _fail_on_lost_records(result)
    if signals.received == signal.SIGINT:
        raise KeyboardInterrupt


def _parts(options: dict[str, Any], *, as_json: bool) -> tuple[LineConfig, Outputs]:
    from edge_ad.cli.run_options import outputs_of

    config = line_config(click.get_current_context(), options)
    return config, outputs_of(config, options, as_json=as_json)


def _watch(
    line: Supervisor, duration_s: float | None, outputs: Outputs, watchdog: Watchdog
) -> dict[str, Any]:
    """Run the line to its end, while the main thread handles signals and the window."""
    until, window = time.monotonic() + duration_s if duration_s else math.inf, outputs.window
    line.start()
    outputs.started()
    watchdog.started()
    while not line.wait(0.02 if window else 0.2):
        watchdog.step()
        if window is not None and window.closed_by_user():
            line.stop.set()
        if time.monotonic() > until:
            line.stop.set()
        if line.stop.is_set():
            break
    watchdog.stopping()
    outputs.stopping()
    return line.finish()


def _fail_on_lost_records(result: dict[str, Any]) -> None:
    from edge_ad.errors import OutletLost

    if faults := result.get("outlet_faults"):
        lost = "; ".join(f"{reason} ({count} records)" for reason, count in faults.items())
        frames = f"{result['frames']} frames, {result['judged']} of them judged"
        raise OutletLost(f"{frames}, but records were lost: {lost}.")
