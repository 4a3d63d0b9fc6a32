"""Handle Ctrl-C and `kill` as a request to finish."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Signals:
    """Within its `with` block, SIGINT and SIGTERM set `stop`; a second signal interrupts at once.

    `received` is the number of the first signal, or None.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.received: int | None = None
        self._stop = stop
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: object) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
        self._stop.set()
