"""Lines of a GPIO chip, by Linux' character device; the one module that imports gpiod."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import gpiod
from gpiod.line import Bias, Direction, Edge, Value

from edge_ad.closeable import ClosedAtExit
from edge_ad.errors import UsageError
from edge_ad.uri import Uri

GpioBias: TypeAlias = Bias
GpioEdge: TypeAlias = Edge
BIASES = {
    "as-is": Bias.AS_IS,
    "pull-up": Bias.PULL_UP,
    "pull-down": Bias.PULL_DOWN,
    "none": Bias.DISABLED,
}
EDGES = {"rising": Edge.RISING, "falling": Edge.FALLING}  # the first is the default
_CONSUMER = "edge-ad"
_AT_ONCE = 64  # edges
_KEPT = 1024  # edges that the kernel keeps for a line, as many as it can; by default it keeps 16


@dataclass(frozen=True, slots=True)
class GpioPlace:
    """A line of a chip, by its number or name."""

    chip: str
    line: int | str

    def __str__(self) -> str:
        return f"line {self.line} of {self.chip}"


def parse_place(uri: Uri) -> GpioPlace:
    """Return the line that `CHIP/LINE` names. Raises UsageError for other text."""
    chip, _, line = uri.place.rpartition("/")
    if not re.fullmatch(r"(/dev/)?gpiochip\d+", chip) or not line:
        raise UsageError(
            f"{uri.scheme}: expected CHIP/LINE, such as gpiochip0/17, got '{uri.place}'. The lines "
            "of this computer are listed by: gpioinfo (package gpiod)"
        )
    path = chip if chip.startswith("/") else f"/dev/{chip}"
    return GpioPlace(path, int(line) if line.isdigit() else line)


def choice(uri: Uri, name: str, choices: Mapping[str, object]) -> str:
    """Return an option that is one of `choices`, the first by default. Raises UsageError."""
    value = uri.options.get(name, next(iter(choices)))
    if value not in choices:
        raise UsageError(f"{uri}: option {name} must be {' or '.join(choices)}, got '{value}'.")
    return value


class InputLine(ClosedAtExit):
    """An input whose edges are waited for. Raises OSError.

    `lost` counts edges that the kernel had no room for, since this process read them too late.
    """

    lost = 0

    def __init__(self, place: GpioPlace, *, edge: Edge, bias: Bias, debounce_s: float) -> None:
        settings = gpiod.LineSettings(
            direction=Direction.INPUT,
            edge_detection=edge,
            bias=bias,
            debounce_period=timedelta(seconds=debounce_s),
        )
        self._request = _request(place, settings, _KEPT)
        self._newest = 0  # edges are numbered from 1

    def edges_s(self, timeout_s: float) -> list[float]:
        """Wait, and return the times of edges on the monotonic clock; empty when none came."""
        if not self._request.wait_edge_events(timedelta(seconds=timeout_s)):
            return []
        events = self._request.read_edge_events(_AT_ONCE)
        for event in events:
            self.lost += event.line_seqno - self._newest - 1
            self._newest = event.line_seqno
        return [event.timestamp_ns / 1e9 for event in events]

    def close(self) -> None:
        if self._request:
            self._request.release()


class OutputLine(ClosedAtExit):
    """An output at the level it was set to last. Raises OSError."""

    def __init__(self, place: GpioPlace, *, active: bool, active_low: bool) -> None:
        self._line = place.line
        settings = gpiod.LineSettings(
            direction=Direction.OUTPUT, output_value=_value(active), active_low=active_low
        )
        self._request = _request(place, settings)

    def set(self, active: bool) -> None:  # noqa: FBT001 - a line has two levels
        """Drive the line. Raises OSError when the chip is gone."""
        self._request.set_value(self._line, _value(active))

    def close(self) -> None:
        """Release the line; the chip may keep its level or let it go."""
        if self._request:
            self._request.release()


def _value(active: bool) -> Value:  # noqa: FBT001
    return Value.ACTIVE if active else Value.INACTIVE


def _request(
    place: GpioPlace, settings: gpiod.LineSettings, kept: int | None = None
) -> gpiod.LineRequest:
    try:
        return gpiod.request_lines(
            place.chip,
            consumer=_CONSUMER,
            config={place.line: settings},
            event_buffer_size=kept,
        )
    except ValueError as error:  # a number beyond the chip's, or a name that no line has
        raise OSError(22, f"{place}: {error}") from error
