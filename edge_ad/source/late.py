"""Open a camera beside others, so that one that is absent delays none of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

from edge_ad.closeable import ClosedAtExit
from edge_ad.errors import SourceLost
from edge_ad.frame import Grab
from edge_ad.source.base import Source


class LateSource(ClosedAtExit):
    """A live camera that opens in its own thread; iterating waits for it.

    Iterating raises what opening raised. `wait` raises it at once, unless the camera is absent.
    """

    live = True

    def __init__(self, name: str, opener: Callable[[], Source]) -> None:
        self.name = name
        self._source: Source | None = None
        self._error: BaseException | None = None
        self._closed = False
        self._lock, self._done = threading.Lock(), threading.Event()
        thread = threading.Thread(target=self._open, args=(opener,), name=f"open {name}")
        thread.daemon = True
        thread.start()

    @property
    def dropped(self) -> int:
        return self._source.dropped if self._source else 0

    @property
    def left_out(self) -> Mapping[str, str]:
        return self._source.left_out if self._source else {}

    def wait(self, limit_s: float) -> None:
        """Wait for the camera to open or to fail. Raises its error unless that is SourceLost."""
        if (
            self._done.wait(limit_s)
            and self._error is not None
            and not isinstance(self._error, SourceLost)
        ):
            raise self._error

    def __iter__(self) -> Iterator[Grab]:
        self._done.wait()
        if self._error is not None:
            raise self._error
        if self._source is not None:
            yield from self._source

    def recorded(self, index: int) -> None:
        if self._source is not None:
            self._source.recorded(index)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            source = self._source
        if source is not None:
            source.close()
        self._done.set()  # whoever iterates gets the end

    def _open(self, opener: Callable[[], Source]) -> None:
        try:
            source = opener()
        except BaseException as error:
            self._error = error
            self._done.set()
            return
        with self._lock:
            closed = self._closed
            self._source = None if closed else source
        if closed:
            source.close()
        self._done.set()
