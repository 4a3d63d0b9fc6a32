"""Pause one camera: no frame of it is judged until it is resumed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from edge_ad.frame import Grab

_POLL_S = 0.2


class Pause:
    """Whether a camera is paused; any thread may change it."""

    def __init__(self) -> None:
        self._running = threading.Event()
        self._running.set()

    @property
    def on(self) -> bool:
        """Whether the camera is paused."""
        return not self._running.is_set()

    def set(self, *, on: bool) -> None:
        """Pause or resume."""
        self._running.clear() if on else self._running.set()

    def wait_resumed(self, stop: threading.Event) -> bool:
        """Wait until the camera is resumed; return False when `stop` is set before."""
        while self.on:
            if stop.is_set():
                return False
            self._running.wait(_POLL_S)
        return True

    def passing(self, grabs: Iterable[Grab]) -> Iterator[Grab]:
        """Yield the grabs of a live source, without those that come during a pause."""
        return (grab for grab in grabs if not self.on)
