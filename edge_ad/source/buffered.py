"""Read a source ahead in its own thread, so that grabbing overlaps with inspection."""

from __future__ import annotations

import atexit
import logging
import math
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping

from edge_ad.closeable import ClosedAtExit
from edge_ad.errors import SourceTimeout
from edge_ad.frame import Grab
from edge_ad.source.frame_queue import DropPolicy, FrameQueue, to_source_error

_open: weakref.WeakSet[BufferedSource] = weakref.WeakSet()
_abandoned: dict[str, list[threading.Thread]] = {}
_MOST_ABANDONED = 3  # threads that hang in one source's driver
TRIGGERED_AHEAD = 8  # frames of parts that wait for their verdict
READ_AHEAD = 3  # decoded frames in the queue; enough to bridge one slow inspection
CLOSE_WITHIN_S = 2.0
_CHECK_CAMERA = "Check that the camera is powered, connected and not in use elsewhere."
_CHECK_DISK = "Check that its disk or share answers, and that it is not a pipe without a writer."
_log = logging.getLogger(__name__)

Opener = Callable[[], Iterator[Grab]]


class BufferedSource(ClosedAtExit):
    """Runs `opener` and the iterator it returns in a daemon thread, and never waits without limit.

    The opener opens the device or raises within `open_within_s`; a camera driver may take longer or
    hang. Every `iter` continues where the last one stopped. With `hold`, the thread grabs nothing
    until somebody iterates. Without it, a camera's frames are drained from the start, so that the
    first one inspected is fresh; those drained before do not count as dropped. `queued` is how many
    frames of a live source may wait, if more than its newest.

    Sources left open are closed when the interpreter exits: a thread inside OpenCV at that time
    would abort the process and hide its exit code.
    """

    def __init__(
        self,
        name: str,
        opener: Opener,
        *,
        live: bool,
        timeout_s: float | None,
        open_within_s: float,
        hold: bool = False,
        closed: threading.Event | None = None,
        queued: int | None = None,
    ) -> None:
        self.name = name
        self.live = live
        self._timeout_s = None if timeout_s == math.inf else timeout_s
        self._closed = closed or threading.Event()
        self._recorded: Callable[[int], None] | None = None
        policy, capacity = (DropPolicy.NEWEST, 1) if live else (DropPolicy.EVERY, READ_AHEAD)
        self._queue = FrameQueue(name, policy, queued or capacity)
        _check_abandoned(name)
        self._opened, self._may_grab = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._left_out: Mapping[str, str] = {}
        if not hold:
            self._may_grab.set()
        self._thread = threading.Thread(
            target=self._grab, args=(opener,), name=f"grab {name}", daemon=True
        )
        _open.add(self)
        self._thread.start()
        self._wait_until_open(open_within_s)

    @property
    def dropped(self) -> int:
        return self._queue.dropped

    @property
    def left_out(self) -> Mapping[str, str]:
        """The `left_out` of the opener's iterator, if it has one."""
        return self._left_out

    def __iter__(self) -> Iterator[Grab]:
        self._queue.counting = True
        self._may_grab.set()
        while (grab := self._queue.get(self._timeout_s)) is not None:
            yield grab

    def recorded(self, index: int) -> None:
        """Pass it on to the opener's iterator, if that has such a method."""
        if self._recorded is not None:
            self._recorded(index)

    def close(self) -> None:
        if self not in _open:
            return
        _open.discard(self)
        self._abandon()
        self._thread.join(CLOSE_WITHIN_S)
        if self._thread.is_alive():
            _abandoned.setdefault(self.name, []).append(self._thread)
            _log.warning(
                "%s: the camera driver does not return; its thread is left running", self.name
            )

    def _abandon(self) -> None:
        self._closed.set()
        self._queue.close()
        self._may_grab.set()

    def _wait_until_open(self, limit_s: float) -> None:
        try:
            opened = self._opened.wait(limit_s)
        except BaseException:  # Ctrl-C while a camera opens
            self._abandon()
            raise
        if self._failure is not None:
            try:
                raise to_source_error(self._failure, self.name)
            finally:
                self._failure = None  # its traceback holds this source
        if not opened:
            self._abandon()
            _abandoned.setdefault(self.name, []).append(self._thread)
            advice = _CHECK_CAMERA if self.live else _CHECK_DISK
            raise SourceTimeout(f"{self.name} did not open within {limit_s:g} s. {advice}")

    def _grab(self, opener: Opener) -> None:
        """Run in the thread: open, then queue grabs until the end, an error or `close`."""
        try:
            grabs = opener()
        except BaseException as error:
            self._failure = error
            self._opened.set()
            return
        self._left_out = getattr(grabs, "left_out", {})
        self._recorded = getattr(grabs, "recorded", None)
        self._opened.set()
        self._may_grab.wait()
        try:
            while (grab := next(grabs, None)) is not None and self._queue.put(grab):
                pass
            self._queue.end()
        except BaseException as error:
            self._queue.end(error)
        finally:
            _close_generator(grabs)


def _check_abandoned(name: str) -> None:
    """Raise SourceTimeout when too many threads of a source hang in its driver."""
    hanging = [thread for thread in _abandoned.pop(name, []) if thread.is_alive()]
    if hanging:
        _abandoned[name] = hanging
    if len(hanging) >= _MOST_ABANDONED:
        raise SourceTimeout(
            f"{name}: its driver did not return from {len(hanging)} attempts to read it. It is "
            "opened again when one of them returns; switch the camera off and on, or restart."
        )


@atexit.register
def _close_all() -> None:
    still_open = list(_open)
    for source in still_open:
        source._abandon()  # all first, so that slow drivers end at the same time
    for source in still_open:
        source._thread.join(CLOSE_WITHIN_S)


def _close_generator(grabs: Iterator[Grab]) -> None:
    """Run a generator's `finally`, which releases the device, in the thread that used it."""
    close = getattr(grabs, "close", None)
    if close is not None:
        close()
