"""Fire a trigger at the edges of a GPIO line (`gpio:CHIP/LINE`)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from edge_ad.closeable import ClosedAtExit
from edge_ad.gpio import (
    BIASES,
    EDGES,
    GpioBias,
    GpioEdge,
    GpioPlace,
    InputLine,
    choice,
    parse_place,
)
from edge_ad.line.trigger import Trigger
from edge_ad.uri import Uri, number

_log = logging.getLogger(__name__)
_LOOK_S = 0.2
_REOPEN_S = 1.0


def open_gpio_trigger(uri: Uri, triggers: Sequence[Trigger]) -> GpioTrigger:
    """Open the line of a URI. Raises OSError, UsageError."""
    place, edge, bias, debounce_s = parse_gpio_trigger(uri)
    return GpioTrigger(triggers, place, edge=edge, bias=bias, debounce_s=debounce_s)


def parse_gpio_trigger(uri: Uri) -> tuple[GpioPlace, GpioEdge, GpioBias, float]:
    """Return line, edge, bias and debounce time in seconds. Raises UsageError."""
    edge, bias = EDGES[choice(uri, "edge", EDGES)], BIASES[choice(uri, "bias", BIASES)]
    return parse_place(uri), edge, bias, number(uri, "debounce_ms", 0.0) / 1e3


class GpioTrigger(ClosedAtExit):
    """Fires triggers at every edge, in a thread.

    With `debounce_s`, the kernel ignores levels that do not last as long, and an edge within that
    time after another one does not count, on chips whose driver does not filter. A chip that goes
    away (a USB adapter) is a missed trigger, since parts may pass meanwhile, and is opened again.
    An edge that the kernel had no room for is a missed trigger, too.
    """

    def __init__(
        self,
        triggers: Sequence[Trigger],
        place: GpioPlace,
        *,
        edge: GpioEdge,
        bias: GpioBias,
        debounce_s: float,
    ) -> None:
        self._triggers, self._place, self._debounce_s = tuple(triggers), place, debounce_s
        self._edge, self._bias = edge, bias
        self._line: InputLine | None = self._open()
        self._counted_s = float("-inf")
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"trigger {place}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and release the line; a second call does nothing."""
        self._closed.set()
        self._thread.join(2.0)

    def _open(self) -> InputLine:
        return InputLine(self._place, edge=self._edge, bias=self._bias, debounce_s=self._debounce_s)

    def _work(self) -> None:
        while not self._closed.is_set():
            try:
                self._line = self._line or self._open()
                moments_s = self._line.edges_s(_LOOK_S)
                self._count_lost(self._line)
                for moment_s in moments_s:
                    self._count(moment_s)
            except OSError as error:
                self._lost(error)
                self._closed.wait(_REOPEN_S)
        if self._line is not None:
            self._line.close()

    def _count_lost(self, line: InputLine) -> None:
        """Report edges that came while this computer was too busy to take them."""
        count, line.lost = line.lost, 0
        if count:
            reason = "edges came faster than this computer takes them"
            _log.error("%s: %d %s.", self._place, count, reason)
            for trigger in self._triggers:
                trigger.input_lost(reason, count)

    def _count(self, moment_s: float) -> None:
        if moment_s - self._counted_s >= self._debounce_s:
            self._counted_s = moment_s
            for trigger in self._triggers:
                trigger.fire(moment_s)

    def _lost(self, error: OSError) -> None:
        """Report a lost line once, until it is there again."""
        line, self._line = self._line, None
        if line is not None:
            line.close()
            reason = f"the trigger input is lost: {error.strerror or error}"
            _log.error("%s: %s. Trying to open it again.", self._place, reason)
            for trigger in self._triggers:
                trigger.input_lost(reason)
