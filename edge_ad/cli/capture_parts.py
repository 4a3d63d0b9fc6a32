"""Which frames `edge-ad capture` looks at, and which part each of them shows."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

import click

from edge_ad.closeable import ClosedAtExit
from edge_ad.errors import UsageError
from edge_ad.line.trigger_input import FREE, SOFTWARE, check_trigger, open_trigger

if TYPE_CHECKING:
    from edge_ad.frame import Grab

ENTER = "enter"
_LOOK_S = 0.01
_MANUAL = "Enter takes an image of a part; type or scan the part's name before it, if it has one."


class AnyFrame(ClosedAtExit):
    """Takes all frames, of one part if that is named.

    `distinct`: each frame shows another part, however much it looks like the last one. `missed`
    counts triggers without a frame.
    """

    distinct = False
    missed = 0

    def __init__(self, part: str | None = None) -> None:
        self._part = part

    @property
    def ended(self) -> bool:
        """Whether no frame will be asked for any more."""
        return False

    def take(self, grab: Grab) -> Grab | None:
        """Return the grab, or None for one that no trigger asked for."""
        return grab

    def part(self, taken: datetime) -> str | None:
        """Return the part on the image that was taken then, None if that is not known."""
        return self._part

    def served(self, fault: str = "") -> None:
        """Note that the frame taken is saved, or left out for a fault."""

    def close(self) -> None:
        """End what asks for frames."""


class EveryFrameAPart(AnyFrame):
    """Takes all frames of a camera that is triggered once a part."""

    distinct = True

    def part(self, taken: datetime) -> str | None:
        return _named_by_time(taken)


class FrameAtTrigger(AnyFrame):
    """Takes the first frame after each trigger, and names its part.

    `text` is what `run --trigger` takes, or `enter`: a line of `lines`, whose text is the part's
    name. A line waits for the one before; `ended` once the last one is served. Other triggers are
    missed while one is served, or when no frame follows within `within_s`; misses are reported.

    A `TriggeredSource` would not do: without a trigger it delivers nothing, so capture could not
    end with the last line, or after its time.
    """

    distinct = True

    def __init__(self, text: str, within_s: float, lines: TextIO | None = None) -> None:
        from edge_ad.line.trigger import Trigger, TriggerLimits

        super().__init__()
        self.missed = 0
        self._trigger = Trigger(TriggerLimits(frame_within_s=within_s))
        self._name = ""
        self._closed, self._last = threading.Event(), False
        self._stack = ExitStack()
        self._watching = False
        threads = [self._report]
        if text == ENTER:
            self._lines = lines or sys.stdin
            threads.append(self._read)
        else:
            self._stack.enter_context(open_trigger(text, [self._trigger]))
        for work in threads:
            threading.Thread(target=work, name=f"capture {work.__name__}", daemon=True).start()

    @property
    def ended(self) -> bool:
        return self._last and not self._trigger.busy

    def take(self, grab: Grab) -> Grab | None:
        if not self._watching:  # triggers are served once the camera delivers
            self._watching = True
            self._stack.enter_context(self._trigger.watched())
            return None
        return self._trigger.take(grab)

    def part(self, taken: datetime) -> str | None:
        return self._name or _named_by_time(taken)

    def served(self, fault: str = "") -> None:
        self._trigger.served()
        if fault:
            click.echo(f"\nNo image for a trigger: {fault}.", err=True)

    def close(self) -> None:
        self._closed.set()
        self._stack.close()
        self._trigger.close()

    def _read(self) -> None:
        try:
            for line in self._lines:
                self._fire(line.strip())
        except UnicodeDecodeError as error:
            click.echo(f"\nThe lines for --trigger enter are not text: {error}.", err=True)
        self._last = True

    def _fire(self, name: str) -> None:
        """Fire for a part, when the one before is served."""
        while not self._trigger.ready:
            if self._closed.wait(_LOOK_S):
                return
        self._name = name  # before there can be an image
        self._trigger.fire()

    def _report(self) -> None:
        while (missed := self._trigger.wait_missed()) is not None:
            self.missed += missed.count
            click.echo(f"\nNo image for {missed.count} trigger(s): {missed.reason}.", err=True)


def open_parts(camera: str, trigger: str | None, part: str | None, within_s: float) -> AnyFrame:
    """Open what decides on frames and parts; a trigger is missed without a frame `within_s`.

    Raises UsageError for options that exclude each other, and what `open_trigger` raises.
    """
    from edge_ad.source.open import is_live, is_triggered

    own = is_triggered(camera)
    if trigger is None:
        return EveryFrameAPart() if own and part is None else AnyFrame(part)
    _check(camera, trigger, part)
    if own or not is_live(camera):
        why = "is triggered itself, by the trigger= of its URI" if own else "is not live"
        raise UsageError(f"{camera} {why}. Leave --trigger {trigger} out.")
    if trigger == ENTER:
        click.echo(f"{_MANUAL} Ctrl-D ends.", err=True)
    return FrameAtTrigger(trigger, within_s)


def _named_by_time(taken: datetime) -> str:
    """Name a part by the time of its image, so that no other capture gives the same name."""
    return f"part-{taken:%Y%m%dT%H%M%S}{taken.microsecond // 1000:03d}Z"


def _check(camera: str, trigger: str, part: str | None) -> None:
    if part is not None:
        raise UsageError(
            "--part and --trigger exclude each other: with a trigger, each image shows another "
            "part. With --trigger enter, type the part's name."
        )
    if trigger in (FREE, SOFTWARE):
        raise UsageError(f"--trigger {trigger}: expected {ENTER}, or an input like gpio:CHIP/LINE.")
    if trigger != ENTER:
        check_trigger(trigger)
