"""`edge-ad capture`: collect images of good parts."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.geometry import geometry_from, geometry_options
from edge_ad.cli.options import emit, shared
from edge_ad.cli.signals import Signals
from edge_ad.cli.types import NumberRange
from edge_ad.errors import OutletLost, SourceLost, UsageError
from edge_ad.source.registry import camera_help

if TYPE_CHECKING:
    from edge_ad.frame import Frame
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
    help="Folder for the images; those in it are kept.",
)
@click.option("--every", type=click.IntRange(1), help="Take every n-th frame; all unless given.")
@click.option(
    "--every-s", type=NumberRange(0, min_open=True), help="Take a frame every so many seconds."
)
@click.option(
    "--count",
    default=500,
    show_default=True,
    type=click.IntRange(1),
    help="Stop after so many images.",
)
@click.option(
    "--max-mib",
    default=2048,
    show_default=True,
    type=click.IntRange(1),
    help="Stop after so much disk space.",
)
@click.option("--duration-s", type=NumberRange(0, min_open=True), help="Stop after this time.")
@click.option(
    "--min-difference",
    default=2.0,
    show_default=True,
    type=NumberRange(0, 255),
    help="Leave out a frame nearer than this to a kept one, in grey levels; 0 keeps all.",
)
@click.option(
    "--timeout-s",
    default=10.0,
    show_default=True,
    type=NumberRange(0, min_open=True),
    help="A camera silent for so long is lost.",
)
@geometry_options
@shared
def command(*, as_json: bool, camera: str, output: Path, timeout_s: float, **options: Any) -> None:
    """Collect images of good parts from a camera, a video or the synthetic line.

    Whole frames are saved, without loss, whatever the region of interest: train, threshold and run
    cut it from them in one and the same way. Here the region only decides which frames are alike.
    Frames that cannot be judged (black, frozen, torn) are left out.
    """
    from edge_ad.source import open_source

    _refuse_both_clocks(options)
    stop = threading.Event()
    with Signals(stop) as signals, open_source(camera, timeout_s=timeout_s) as source:
        album = _Album(output, options, count=options["count"])
        try:
            album.fill(source, _selection(source, options), stop, options["duration_s"])
        finally:
            _tell(album.summary(source), as_json=as_json)
    if signals.received == signal.SIGINT:
        raise KeyboardInterrupt


class _Album:
    """The images of one capture, numbered on from those the folder holds."""

    def __init__(self, folder: Path, options: dict[str, Any], *, count: int) -> None:
        self._folder, self._count = folder, count
        self._room = options["max_mib"] * _MIB
        self._bytes = self._saved = 0
        self._selection: Selection | None = None
        self._stopped_by = "an error"
        self._next = _make_folder(folder)

    def fill(
        self, source: Source, selection: Selection, stop: threading.Event, limit_s: float | None
    ) -> None:
        """Keep frames until the source ends or a limit is reached.

        Raises SourceLost when there were frames and none could be kept.
        """
        from edge_ad.frame import Frame
        from edge_ad.source.selection import Fate

        self._selection = selection
        end_s = time.monotonic() + limit_s if limit_s else float("inf")
        with _Counter(selection) as counter:
            for grab in source:
                if selection.judge(grab) is Fate.KEPT and isinstance(grab, Frame):
                    self._save(grab)
                counter.show()
                if reason := self._limit(stop, end_s):
                    self._stopped_by = reason
                    break
            else:
                self._stopped_by = "end of the source"
        if selection.counts[Fate.INVALID] and not selection.counts[Fate.KEPT]:
            raise SourceLost(
                f"{source.name}: none of its {selection.counts[Fate.INVALID]} frames can be kept. "
                f"The last one: {selection.last_fault}."
            )

    def summary(self, source: Source) -> dict[str, Any]:
        """What was kept, what not and why."""
        from edge_ad.source.selection import Fate

        counts = self._selection.counts if self._selection else {}
        return {
            "type": "summary",
            "output": str(self._folder),
            "source": source.name,
            **{fate.value: counts.get(fate, 0) for fate in Fate},
            Fate.KEPT.value: self._saved,  # one less than was chosen when the disk is full
            "dropped": source.dropped,
            "mib": round(self._bytes / _MIB, 1),
            "stopped_by": self._stopped_by,
        }

    def _limit(self, stop: threading.Event, end_s: float) -> str:
        from edge_ad.source.selection import Fate

        assert self._selection is not None
        if stop.is_set():
            return "signal"
        if self._selection.counts[Fate.KEPT] >= self._count:
            return "count"
        if self._bytes >= self._room:
            return "disk space"
        return "duration" if time.monotonic() >= end_s else ""

    def _save(self, frame: Frame) -> None:
        from edge_ad.files import write_bytes
        from edge_ad.images import encode_image

        data = encode_image(frame.image, ".png")
        path = self._folder / f"{_PREFIX}{self._next:06d}.png"
        try:
            write_bytes(path, data)
        except OSError as error:
            raise OutletLost(f"{path}: cannot be written ({error.strerror}).") from error
        self._next += 1
        self._saved += 1
        self._bytes += len(data)


class _Counter:
    """A line on stderr that counts along, a few times a second."""

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

    def __enter__(self) -> _Counter:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown_s = 0.0
        self.show()
        click.echo(err=True)


def _selection(source: Source, options: dict[str, Any]) -> Selection:
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
        geometry=geometry_from(options),
    )


def _refuse_both_clocks(options: dict[str, Any]) -> None:
    if options["every"] and options["every_s"]:
        raise UsageError("--every and --every-s exclude each other: count frames or seconds.")


def _make_folder(folder: Path) -> int:
    """Make the folder; the first number that no image in it has."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [path.stem.removeprefix(_PREFIX) for path in folder.glob(f"{_PREFIX}*")]
    except OSError as error:
        raise OutletLost(f"{folder}: cannot be written ({error.strerror}).") from error
    return max((int(name) for name in names if name.isdecimal()), default=-1) + 1


def _tell(summary: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit(summary)
        return
    click.echo(
        f"{summary['kept']} images in {summary['output']} ({summary['mib']} MiB). Left out: "
        f"{summary['duplicate']} near-duplicates, {summary['invalid']} invalid, "
        f"{summary['skipped']} not due, {summary['dropped']} dropped. "
        f"Stopped by: {summary['stopped_by']}."
    )
