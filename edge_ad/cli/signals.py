"""Handle Ctrl-C, `kill` and a terminal that is closed as a request to finish."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Signals:
    """Within its `with` block, SIGINT, SIGTERM and SIGHUP set `stop`.

    A second SIGINT or SIGTERM interrupts at once; SIGHUP does not, since kernel and shell may both
    send it. Where it is ignored, as under nohup, it still is. `received` is the number of the first
    signal, or None.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.received: int | None = None
        self._stop = stop
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM, *_hangup()):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: object) -> None:
        if self.received is None:
            self.received = number
            self._stop.set()
        elif number in (signal.SIGINT, signal.SIGTERM):
            raise KeyboardInterrupt


def _hangup() -> tuple[int, ...]:
    """Return SIGHUP, unless somebody has it ignored or the system has none."""
    number = getattr(signal, "SIGHUP", None)
    return () if number is None or signal.getsignal(number) is signal.SIG_IGN else (number,)
