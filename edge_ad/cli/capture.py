"""The verb `edge-ad capture`."""

from __future__ import annotations

import json
import signal
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.bit_depth import bit_depth_option
from edge_ad.cli.geometry import geometry_options
from edge_ad.cli.options import emit, shared
from edge_ad.cli.output import check_writable
from edge_ad.cli.signals import Signals
from edge_ad.cli.types import NumberRange
from edge_ad.errors import OutletLost, SourceLost, UsageError
from edge_ad.source.registry import camera_help

if TYPE_CHECKING:
    from edge_ad.frame import Frame, Grab
    from edge_ad.source import Source
    from edge_ad.source.selection import Selection

_PREFIX = "frame-"
_MIB = 1 << 20


@click.command()
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
    default=2.0,
    show_default=True,
    type=NumberRange(0, 255),
    help="Leave out frames closer than this to a kept one, in grey levels; 0 keeps all.",
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
@geometry_options
@bit_depth_option
@shared
def command(*, as_json: bool, camera: str, output: Path, timeout_s: float, **options: Any) -> None:
    """Collect images of good parts from a camera, a video or the synthetic line.

    Whole frames are saved, losslessly. The region of interest, which train, threshold and run cut
    out themselves, is used here only to detect near-duplicates. Frames that cannot be judged
    (black, frozen, torn) are left out. capture.jsonl beside the images has the time and part of
    each.
    """
    _check_interval(options)
    check_writable(output / "capture.jsonl")
    stop = threading.Event()
    with Signals(stop) as signals, _open(camera, timeout_s, options) as source:
        limits = _Limits(options["count"], options["max_mib"] * _MIB, options["duration_s"])
        selection = _selection(source, options)
        earlier = _remember_images(output, selection) if options["min_difference"] else 0
        writer = _CaptureWriter(output, source, selection, earlier, part=options["part"])
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


@dataclass(frozen=True)
class _Limits:
    """The limits that end a capture."""

    count: int
    max_bytes: int
    duration_s: float | None


class _CaptureWriter:
    """Writes the selected frames of a source to a folder, numbered on from those it contains."""

    def __init__(
        self,
        folder: Path,
        source: Source,
        selection: Selection,
        earlier: int = 0,
        *,
        part: str | None = None,
    ) -> None:
        self._folder, self._source, self._selection = folder, source, selection
        self._earlier, self._part = earlier, part
        self._bytes = self._saved = 0
        self._stopped_by = "an error"
        self._next = _first_number(folder)

    def write_until(self, limits: _Limits, stop: threading.Event) -> None:
        """Write frames until the source ends, a limit is reached or `stop` is set.

        Raises SourceLost when there were frames but none could be kept.
        """
        from edge_ad.source.selection import Fate

        end_s = time.monotonic() + limits.duration_s if limits.duration_s else float("inf")
        with _ProgressLine(self._selection) as progress:
            for grab in self._source:
                self._take(grab)
                progress.show()
                if reason := self._reached(limits, stop, end_s):
                    self._stopped_by = reason
                    break
            else:
                self._stopped_by = "end of the source"
        counts = self._selection.counts
        if counts[Fate.INVALID] and not counts[Fate.KEPT]:
            raise SourceLost(
                f"{self._source.name}: none of its {counts[Fate.INVALID]} frames can be kept. "
                f"The last one: {self._selection.last_fault}."
            )

    def summary(self) -> dict[str, Any]:
        """Return the counts of frames kept and left out, and the reason for the end."""
        from edge_ad.source.selection import Fate

        return {
            "type": "summary",
            "output": str(self._folder),
            "source": self._source.name,
            **{fate.value: self._selection.counts[fate] for fate in Fate},
            Fate.KEPT.value: self._saved,  # one less than selected when the disk is full
            "earlier": self._earlier,
            "dropped": self._source.dropped,
            "left_out": dict(list(self._source.left_out.items())[:10]),
            "left_out_count": len(self._source.left_out),
            "mib": round(self._bytes / _MIB, 1),
            "stopped_by": self._stopped_by,
        }

    def _take(self, grab: Grab) -> None:
        from edge_ad.frame import Frame
        from edge_ad.source.selection import Fate

        if self._selection.judge(grab) is Fate.KEPT and isinstance(grab, Frame):
            self._save(grab)

    def _reached(self, limits: _Limits, stop: threading.Event, end_s: float) -> str:
        """Return the limit that is reached, or an empty string."""
        from edge_ad.source.selection import Fate

        if stop.is_set():
            return "signal"
        if self._selection.counts[Fate.KEPT] >= limits.count:
            return "count"
        if self._bytes >= limits.max_bytes:
            return "disk space"
        return "duration" if time.monotonic() >= end_s else ""

    def _save(self, frame: Frame) -> None:
        from edge_ad.files import write_bytes
        from edge_ad.images import encode_image

        data = encode_image(frame.image, ".png")
        path = self._folder / f"{_PREFIX}{self._next:06d}.png"
        try:
            write_bytes(path, data)
            self._note(path, frame)
        except OSError as error:
            raise OutletLost(f"{path}: cannot be written ({error.strerror}).") from error
        self._next += 1
        self._saved += 1
        self._bytes += len(data)

    def _note(self, path: Path, frame: Frame) -> None:
        """Append the image's facts to capture.jsonl, by one write: a line is whole or cut off."""
        from edge_ad.parts.listed import CAPTURE

        facts: dict[str, Any] = {"image": path.name, "source": self._source.name}
        facts |= {"frame": frame.index, "part": self._part}
        if self._source.live:  # a file is read faster than it was taken
            taken = datetime.now(timezone.utc) - timedelta(
                seconds=time.monotonic() - frame.captured_s
            )
            facts["time_utc"] = taken.isoformat(timespec="milliseconds")
        with (self._folder / CAPTURE).open("ab", buffering=0) as file:
            file.write((json.dumps(facts) + "\n").encode())


class _ProgressLine:
    """Shows the counts on one line of stderr, updated a few times a second."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._shown_s = 0.0

    def show(self) -> None:
        if time.monotonic() - self._shown_s < 0.2:
            return
        self._shown_s = time.monotonic()
        counts = self._selection.counts
        text = ", ".join(f"{fate.value} {number}" for fate, number in sorted(counts.items()))
        click.echo(f"\r{text}    ", nl=False, err=True)

    def __enter__(self) -> _ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown_s = 0.0
        self.show()
        click.echo(err=True)


def _selection(source: Source, options: dict[str, Any]) -> Selection:
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
        min_difference=options["min_difference"],
        geometry=Geometry().changed(options["geometry"]),
    )


def _check_interval(options: dict[str, Any]) -> None:
    if options["every"] and options["every_s"]:
        raise UsageError("--every and --every-s exclude each other: give one of them.")


def _first_number(folder: Path) -> int:
    """Return the first number after those of the folder's images."""
    names = [path.stem.removeprefix(_PREFIX) for path in folder.glob(f"{_PREFIX}*")]
    return max((int(name) for name in names if name.isdecimal()), default=-1) + 1


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
        f"{summary['kept']} image{'s' * (summary['kept'] != 1)} in {summary['output']} "
        f"({summary['mib']} MiB)"
        f"{_earlier(summary)}. Left out: "
        f"{summary['duplicate']} near-duplicates, {summary['invalid']} invalid, "
        f"{summary['skipped']} skipped by --every or --every-s, {summary['dropped']} dropped. "
        f"Stopped by: {summary['stopped_by']}."
    )
    if summary["left_out_count"]:
        names = ", ".join(summary["left_out"])
        more = summary["left_out_count"] - len(summary["left_out"])
        rest = f" and {more} more" if more else ""
        click.echo(f"Not images: {summary['left_out_count']} files: {names}{rest}.")
