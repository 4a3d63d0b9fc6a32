"""`edge-ad run`: judge frames and raise alarms."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.engine import engine_options
from edge_ad.cli.geometry import geometry_given, geometry_options
from edge_ad.cli.options import emit, shared
from edge_ad.cli.signals import Signals
from edge_ad.cli.types import Number, NumberRange
from edge_ad.outlet.registry import outlet_help
from edge_ad.source.registry import camera_help

if TYPE_CHECKING:
    from edge_ad.cli.console import Window
    from edge_ad.line.config import LineConfig
    from edge_ad.line.supervisor import Supervisor
    from edge_ad.outlet.base import Outlet

_POSITIVE, _COUNT = NumberRange(0, min_open=True), click.IntRange(0)


@click.command()
@click.option(
    "--camera",
    "cameras",
    multiple=True,
    required=True,
    metavar="URI",
    help=f"{camera_help()}; repeats.",
)
@click.option("--engine", required=True, type=click.Path(path_type=Path), help="Engine file.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for event log, evidence images, contact sheet and summary.",
)
@click.option("--outlet", "outlets", multiple=True, metavar="URI", help=outlet_help())
@click.option("--overwrite", is_flag=True, help="Replace an earlier run's files in that folder.")
@geometry_options
@click.option("--threshold", type=Number(), help="Reject above this score, not the stored one.")
@click.option("--pixel-threshold", type=Number(), help="Outline map values above this.")
@click.option(
    "--alarm-k", default=2, show_default=True, type=click.IntRange(1), help="Rejected frames ..."
)
@click.option(
    "--alarm-n",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="... of the last n that raise an alarm; n clean ones clear it.",
)
@click.option(
    "--hysteresis",
    default=0.1,
    show_default=True,
    type=NumberRange(0, 1),
    help="While an alarm stands, the threshold is lower by this share.",
)
@click.option(
    "--evidence-count",
    default=200,
    show_default=True,
    type=_COUNT,
    help="Evidence images kept; the oldest go first.",
)
@click.option(
    "--evidence-mib",
    default=256,
    show_default=True,
    type=click.IntRange(1),
    help="Disk space for evidence images.",
)
@click.option("--frames", default=0, type=_COUNT, help="Stop after so many frames of a camera.")
@click.option("--duration-s", type=_POSITIVE, help="Stop after this time.")
@click.option(
    "--timeout-s",
    default=10.0,
    show_default=True,
    type=_POSITIVE,
    help="A camera silent for so long is lost.",
)
@click.option(
    "--reopen-for-s",
    default=60.0,
    show_default=True,
    type=NumberRange(0),
    help="Try so long to open a lost camera again.",
)
@engine_options
@click.option("--show", is_flag=True, help="Show frames and regions in a window.")
@click.option("--quiet", is_flag=True, help="Print alarms and the summary only.")
@shared
def command(*, as_json: bool, duration_s: float | None, **options: Any) -> None:
    """Judge frames from one or more cameras and raise alarms.

    Live cameras are judged by their newest frame, files frame by frame. The run ends with the
    files, with --frames or --duration-s, or with Ctrl-C, and closes with a summary.
    """
    from edge_ad.line.open import open_line

    stop = threading.Event()
    with ExitStack() as stack:
        signals = stack.enter_context(Signals(stop))
        outputs = _Outputs(options, as_json=as_json)
        line = stack.enter_context(open_line(_config(options), outputs.prepare(), stop))
        result = _watch(line, duration_s, outputs.window)
        outputs.close(result)
    line.raise_errors()
    _fail_on_lost_records(result)
    if signals.received == signal.SIGINT:
        raise KeyboardInterrupt


def _config(options: dict[str, Any]) -> LineConfig:
    from edge_ad.line.alarm import AlarmRule
    from edge_ad.line.config import LineConfig

    rule = AlarmRule(options.pop("alarm_k"), options.pop("alarm_n"), options.pop("hysteresis"))
    return LineConfig(rule=rule, geometry=geometry_given(options), **options)


def _watch(line: Supervisor, duration_s: float | None, window: Window | None) -> dict[str, Any]:
    """Run the line to its end while the main thread serves signals and the window."""
    until = time.monotonic() + duration_s if duration_s else float("inf")
    line.start()
    while not line.wait(0.02 if window else 0.2):
        if window is not None and window.closed_by_user():
            line.stop.set()
        if time.monotonic() > until:
            line.stop.set()
        if line.stop.is_set():
            break
    return line.finish()


class _Outputs:
    """Where a run's results go; takes its own options out of `options`."""

    def __init__(self, options: dict[str, Any], *, as_json: bool) -> None:
        self.window: Window | None = None
        self._json = as_json
        self._folder: Path | None = options.pop("output")
        self._take = {
            name: options.pop(name)
            for name in ("overwrite", "evidence_count", "evidence_mib", "show", "quiet")
        }

    def prepare(self) -> list[Outlet]:
        """Make the output folder and the sinks; raises before anything is judged."""
        import sys

        from edge_ad.cli.console import Console, Window
        from edge_ad.outlet.jsonl import JsonLines

        outlets: list[Outlet] = [
            JsonLines(sys.stdout) if self._json else Console(quiet=self._take["quiet"])
        ]
        if self._folder is not None:
            outlets += self._files(self._folder)
        if self._take["show"]:
            self.window = Window()
            outlets.append(self.window)
        return outlets

    def close(self, result: dict[str, Any]) -> None:
        """Print the summary and keep it in the folder; a fault in that is added to `result`."""
        from edge_ad.cli.console import summary_text
        from edge_ad.files import write_text

        if self._json:
            emit(result)
        else:
            click.echo(summary_text(result))
        if self._folder is None:
            return
        path = self._folder / "summary.json"
        try:
            write_text(path, json.dumps(result, indent=2) + "\n")
        except OSError as error:
            reason = f"{path}: cannot be written ({error.strerror or error})"
            result["outlet_faults"] = {**result.get("outlet_faults", {}), reason: 1}

    def _files(self, folder: Path) -> list[Outlet]:
        from edge_ad.cli.output import make_output_folder
        from edge_ad.outlet.evidence import EvidenceFolder
        from edge_ad.outlet.jsonl import JsonFile

        make_output_folder(folder, overwrite=self._take["overwrite"])
        count, mib = self._take["evidence_count"], self._take["evidence_mib"]
        evidence = EvidenceFolder(folder / "evidence", max_count=count, max_bytes=mib << 20)
        return [JsonFile(folder / "events.jsonl"), evidence]


def _fail_on_lost_records(result: dict[str, Any]) -> None:
    from edge_ad.errors import OutletLost

    if faults := result.get("outlet_faults"):
        lost = "; ".join(f"{reason} ({count} records)" for reason, count in faults.items())
        raise OutletLost(f"every frame was judged, but records were lost: {lost}")
