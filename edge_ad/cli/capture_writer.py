"""Write the frames that `edge-ad capture` keeps, with their facts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.capture_parts import AnyFrame
from edge_ad.errors import OutletLost, SourceLost

if TYPE_CHECKING:
    from edge_ad.frame import Frame, Grab
    from edge_ad.source import Source
    from edge_ad.source.selection import Selection

_PREFIX = "frame-"
MIB = 1 << 20
_LOOK_S = 0.1


@dataclass(frozen=True)
class CaptureLimits:
    """The limits that end a capture."""

    count: int
    max_bytes: int
    duration_s: float | None


class CaptureWriter:
    """Writes the selected frames of a source to a folder, numbered on from those it contains.

    Images of a folder keep their names: these often say which images show one part.
    """

    def __init__(
        self,
        folder: Path,
        source: Source,
        selection: Selection,
        earlier: int = 0,
        *,
        parts: AnyFrame,
    ) -> None:
        self._folder, self._source, self._selection = folder, source, selection
        self._earlier, self._parts = earlier, parts
        self._bytes = self._saved = 0
        self._stopped_by = "an error"
        self._next = _first_number(folder)

    def write_until(self, limits: CaptureLimits, stop: threading.Event) -> None:
        """Write frames until the source ends, a limit is reached or `stop` is set.

        Raises SourceLost when there were frames but none could be kept.
        """
        from edge_ad.source.selection import Fate

        end_s = time.monotonic() + limits.duration_s if limits.duration_s else float("inf")
        with (
            _ProgressLine(self._selection) as progress,
            _closing_in_time(self._source, stop, end_s),
        ):
            for grab in self._source:
                self._take(grab)
                progress.show()
                if reason := self._reached(limits, stop, end_s):
                    self._stopped_by = reason
                    break
            else:
                self._stopped_by = self._reached(limits, stop, end_s) or "end of the source"
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
            "missed_triggers": self._parts.missed,
            "left_out": dict(list(self._source.left_out.items())[:10]),
            "left_out_count": len(self._source.left_out),
            "mib": round(self._bytes / MIB, 1),
            "stopped_by": self._stopped_by,
        }

    def _take(self, grab: Grab) -> None:
        from edge_ad.frame import Frame
        from edge_ad.source.selection import Fate

        taken = self._parts.take(grab)
        if taken is None:
            return
        fate = self._selection.judge(taken)
        if fate is Fate.KEPT and isinstance(taken, Frame):
            self._save(taken)
        self._parts.served(self._selection.last_fault if fate is Fate.INVALID else "")

    def _reached(self, limits: CaptureLimits, stop: threading.Event, end_s: float) -> str:
        """Return the limit that is reached, or an empty string."""
        from edge_ad.source.selection import Fate

        if stop.is_set():
            return "signal"
        if self._parts.ended:
            return "end of the triggers"
        if self._selection.counts[Fate.KEPT] >= limits.count:
            return "count"
        if self._bytes >= limits.max_bytes:
            return "disk space"
        return "duration" if time.monotonic() >= end_s else ""

    def _save(self, frame: Frame) -> None:
        from edge_ad.files import write_bytes
        from edge_ad.images import encode_image

        data = encode_image(frame.image, ".png")
        path = self._path(frame)
        try:
            write_bytes(path, data)
            self._note(path, frame)
        except OSError as error:
            raise OutletLost(f"{path}: cannot be written ({error.strerror}).") from error
        self._saved += 1
        self._bytes += len(data)

    def _path(self, frame: Frame) -> Path:
        """Return the file for a frame: its own name where that is free, else a number."""
        named = self._folder / f"{Path(frame.file).stem}.png"
        if frame.file and not named.exists():
            return named
        path = self._folder / f"{_PREFIX}{self._next:06d}.png"
        self._next += 1
        return path

    def _note(self, path: Path, frame: Frame) -> None:
        """Append the image's facts to capture.jsonl, by one write: a line is whole or cut off."""
        from edge_ad.parts.listed import CAPTURE

        taken = datetime.now(timezone.utc) - timedelta(seconds=time.monotonic() - frame.captured_s)
        facts: dict[str, Any] = {"image": path.name, "source": self._source.name}
        facts |= {"frame": frame.index, "part": self._parts.part(taken)}
        if self._source.live:  # a file is read faster than it was taken
            facts["time_utc"] = taken.isoformat(timespec="milliseconds")
        with (self._folder / CAPTURE).open("ab", buffering=0) as file:
            file.write((json.dumps(facts) + "\n").encode())


@contextmanager
def _closing_in_time(source: Source, stop: threading.Event, end_s: float) -> Iterator[None]:
    """Close a source at `stop` or `end_s`: a triggered one may be silent until then, and longer."""
    done = threading.Event()

    def watch() -> None:
        while not (stop.is_set() or time.monotonic() >= end_s):
            if done.wait(_LOOK_S):
                return
        source.close()

    watching = threading.Thread(target=watch, name="capture limits", daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


class _ProgressLine:
    """Shows the counts on one line of stderr when they change, a few times a second at most.

    A line drawn again without need would cover what is typed for a trigger.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._shown_s, self._text = 0.0, ""

    def show(self) -> None:
        if time.monotonic() - self._shown_s < 0.2:
            return
        self._shown_s = time.monotonic()
        counts = self._selection.counts
        text = ", ".join(f"{fate.value} {number}" for fate, number in sorted(counts.items()))
        if text != self._text:
            click.echo(f"\r{text}    ", nl=False, err=True)
            self._text = text

    def __enter__(self) -> _ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown_s = 0.0
        self.show()
        click.echo(err=True)


def _first_number(folder: Path) -> int:
    """Return the first number after those of the folder's images."""
    names = [path.stem.removeprefix(_PREFIX) for path in folder.glob(f"{_PREFIX}*")]
    return max((int(name) for name in names if name.isdecimal()), default=-1) + 1
