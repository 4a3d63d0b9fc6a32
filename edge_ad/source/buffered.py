"""A source read ahead by its own thread, so that grabbing overlaps with judging."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Callable, Iterator

from edge_ad.closeable import ClosedAtExit
from edge_ad.errors import SourceTimeout
from edge_ad.frame import Grab
from edge_ad.source.frame_queue import DropPolicy, FrameQueue, crossed

_open: weakref.WeakSet[BufferedSource] = weakref.WeakSet()
AHEAD = 3  # decoded frames that wait; enough to ride out one slow inspection
CLOSE_WITHIN_S = 2.0
_log = logging.getLogger(__name__)

Opener = Callable[[], Iterator[Grab]]


class BufferedSource(ClosedAtExit):
    """Runs `opener` and the iterator it returns in a daemon thread; never waits without limit.

    The opener opens the device or raises; it has `open_within_s`, a camera driver may take longer
    or for ever. Every `iter` continues where the last one stopped. `hold` keeps the thread from
    grabbing until somebody iterates; without it a camera's frames are drained from the start, so
    that the first one judged is fresh, and those drained before do not count as dropped.

    What nobody closed is closed when the interpreter ends: a thread that is inside OpenCV then
    would abort the process and hide its exit code.
    """

    def __init__(
        self,
        name: str,
        opener: Opener,
        *,
        live: bool,
        timeout_s: float,
        open_within_s: float,
        hold: bool = False,
    ) -> None:
        self.name = name
        self.live = live
        self._timeout_s = timeout_s
        self._handover = FrameQueue(
            name, DropPolicy.NEWEST if live else DropPolicy.EVERY, 1 if live else AHEAD
        )
        self._opened, self._go = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        if not hold:
            self._go.set()
        self._thread = threading.Thread(
            target=self._grab, args=(opener,), name=f"grab {name}", daemon=True
        )
        _open.add(self)
        self._thread.start()
        self._wait_until_open(open_within_s)

    @property
    def dropped(self) -> int:
        return self._handover.dropped

    def __iter__(self) -> Iterator[Grab]:
        self._handover.counting = True
        self._go.set()
        while (grab := self._handover.get(self._timeout_s)) is not None:
            yield grab

    def close(self) -> None:
        if self not in _open:
            return
        _open.discard(self)
        self._abandon()
        self._thread.join(CLOSE_WITHIN_S)
        if self._thread.is_alive():
            _log.warning("%s: the driver does not return; its thread is left behind", self.name)

    def _abandon(self) -> None:
        self._handover.close()
        self._go.set()

    def _wait_until_open(self, limit_s: float) -> None:
        try:
            opened = self._opened.wait(limit_s)
        except BaseException:  # Ctrl-C while a camera opens
            self._abandon()
            raise
        if self._failure is not None:
            raise crossed(self._failure, self.name)
        if not opened:
            self._abandon()
            raise SourceTimeout(
                f"{self.name}: does not open within {limit_s:g} s. Check that the camera is "
                "powered, connected and not in use elsewhere."
            )

    def _grab(self, opener: Opener) -> None:
        """The thread: open, then hand over grab after grab until the end, an error or `close`."""
        try:
            grabs = opener()
        except BaseException as error:
            self._failure = error
            self._opened.set()
            return
        self._opened.set()
        self._go.wait()
        try:
            while (grab := next(grabs, None)) is not None and self._handover.put(grab):
                pass
            self._handover.end()
        except BaseException as error:
            self._handover.end(error)
        finally:
            _finish(grabs)


@atexit.register
def _close_all() -> None:
    left = list(_open)
    for source in left:
        source._abandon()  # all at once, so that those who take their time do it together
    for source in left:
        source._thread.join(CLOSE_WITHIN_S)


def _finish(grabs: Iterator[Grab]) -> None:
    """Run a generator's `finally`, which releases the device, in the thread that used it."""
    close = getattr(grabs, "close", None)
    if close is not None:
        close()
