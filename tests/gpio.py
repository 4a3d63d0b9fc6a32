"""A GPIO chip at gpiod's seam, for tests on machines without one.

Linux' own simulator (`gpio-sim`) needs a kernel module and root; where neither is at hand, this
stands in for `gpiod.request_lines` and keeps to what gpiod's type stubs say.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any


@dataclass
class Edge:
    timestamp_ns: int
    line_seqno: int


@dataclass
class FakeGpio:
    """Chips of 32 lines each. `levels` are those that outputs were driven to, with their times."""

    chips: tuple[str, ...] = ("/dev/gpiochip0",)
    levels: list[tuple[float, bool]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)  # re-entrant
    edges: list[Edge] = field(default_factory=list)
    numbered: int = 0  # edges since the line was requested
    kept: int = 16
    settings: Any = None
    released: int = 0
    gone: bool = False

    def request_lines(
        self,
        path: str,
        consumer: str,
        config: dict[Any, Any],
        event_buffer_size: int | None = None,
    ) -> FakeRequest:
        if path not in self.chips or self.gone:
            raise FileNotFoundError(2, "No such file or directory")
        ((line, self.settings),) = config.items()
        if line == "LATCH" or (isinstance(line, int) and line >= 32):
            raise ValueError("failed to configure line")
        self.numbered, self.kept = 0, event_buffer_size or 16
        from gpiod.line import Direction

        if self.settings.direction is Direction.OUTPUT:
            self.drive(self.settings.output_value)
        return FakeRequest(self)

    def drive(self, value: Any) -> None:
        if self.gone:
            raise OSError(19, "No such device")
        with self.changed:
            self.levels.append((time.monotonic(), bool(value)))
            self.changed.notify_all()

    def edge(self, at_s: float | None = None) -> None:
        """Let an edge come, at a time of the monotonic clock or now.

        A full queue drops its oldest.
        """
        with self.changed:
            moment_s = time.monotonic() if at_s is None else at_s
            self.numbered += 1
            self.edges = [*self.edges, Edge(round(moment_s * 1e9), self.numbered)][-self.kept :]
            self.changed.notify_all()

    def take_away(self) -> None:
        """Pull the chip's plug."""
        with self.changed:
            self.gone = True
            self.changed.notify_all()


class FakeRequest:
    def __init__(self, chip: FakeGpio) -> None:
        self._chip, self._open = chip, True

    def __bool__(self) -> bool:
        return self._open

    def release(self) -> None:
        self._open = False
        self._chip.released += 1

    def set_value(self, line: int | str, value: Any) -> None:
        self._chip.drive(value)

    def wait_edge_events(self, timeout: timedelta) -> bool:
        chip = self._chip
        with chip.changed:
            came = chip.changed.wait_for(lambda: chip.edges or chip.gone, timeout.total_seconds())
            if chip.gone:
                raise OSError(19, "No such device")
        return bool(came)

    def read_edge_events(self, max_events: int) -> list[Edge]:
        with self._chip.changed:
            events, self._chip.edges = (
                self._chip.edges[:max_events],
                self._chip.edges[max_events:],
            )
        return events
