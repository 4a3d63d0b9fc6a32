"""Draw a quantity over time as the shapes of an SVG: lines, bars, a grid, and what happened."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from edge_ad.clock import as_local

WIDTH, HEIGHT = 900, 150
LEFT, RIGHT, TOP, BOTTOM = 62, 8, 8, 24
_TICKS = 4
_HOURS = (1 / 12, 1 / 6, 0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 168)  # between labels of time
_LABELS = 8


@dataclass(frozen=True)
class Series:
    """One line or row of bars: a value for each time (minutes since 1970), None for a gap.

    `kind` is its class in the style sheet; `step` the minutes between two values.
    """

    kind: str
    values: Sequence[tuple[float, float | None]]
    step: float
    bars: bool = False


@dataclass(frozen=True)
class Mark:
    """Something that happened at a time, drawn across the chart with a title."""

    minute: float
    kind: str
    title: str


@dataclass
class Chart:
    """Shapes for the template; texts are already those of the language."""

    grid: list[tuple[float, str]] = field(default_factory=list)  # y, label
    times: list[tuple[float, str]] = field(default_factory=list)  # x, label
    lines: list[tuple[str, str]] = field(default_factory=list)  # kind, path
    bars: list[tuple[str, float, float, float, float]] = field(default_factory=list)
    marks: list[tuple[float, str, str]] = field(default_factory=list)
    level: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to see."""
        return not (self.lines or self.bars)


def draw_chart(
    series: Sequence[Series],
    span: tuple[float, float],
    label: Callable[[float], str],
    *,
    marks: Sequence[Mark] = (),
    from_zero: bool = True,
    level: float | None = None,
) -> Chart:
    """Return a chart of several series over the same span (minutes since 1970).

    `level` is a value that a line is drawn across at.
    """
    known = [value for one in series for _, value in one.values if value is not None]
    if not known:
        return Chart()
    if level is not None:
        known.append(level)
    axes = _Axes(span, *_nice(0.0 if from_zero else min(known), max(known)))
    chart = Chart(times=[(axes.x(minute), text) for minute, text in time_labels(*span)])
    chart.grid = [(axes.y(value), label(value)) for value in axes.round_values()]
    for one in series:
        if one.bars:
            chart.bars += _bars(one, axes)
        else:
            chart.lines += [(one.kind, path) for path in _paths(one, axes)]
    chart.marks = [
        (axes.x(mark.minute), mark.kind, mark.title)
        for mark in marks
        if span[0] <= mark.minute <= span[1]
    ]
    chart.level = None if level is None else axes.y(level)
    return chart


class _Axes(NamedTuple):
    """Places on a chart: a span of minutes across, values from `low` to `high` upwards."""

    span: tuple[float, float]
    low: float
    high: float
    step: float

    def x(self, minute: float) -> float:
        """Return the place of a minute."""
        share = (minute - self.span[0]) / max(self.span[1] - self.span[0], 1e-9)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Return the place of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(TOP + (1 - share) * (HEIGHT - TOP - BOTTOM), 1)

    def round_values(self) -> list[float]:
        """Return the values of the grid's lines."""
        count = round((self.high - self.low) / self.step)
        return [self.low + number * self.step for number in range(count + 1)]


def _paths(series: Series, axes: _Axes) -> list[str]:
    """Return the pieces of a line between gaps; a lone value is a short dash."""
    pieces: list[list[tuple[float, float]]] = []
    before = -math.inf
    for minute, value in series.values:
        if value is None:
            continue
        if minute - before > 1.5 * series.step:
            pieces.append([])
        pieces[-1].append((minute + series.step / 2, value))
        before = minute
    paths = []
    for piece in pieces:
        if len(piece) == 1:
            (minute, value), half = piece[0], series.step / 2
            piece = [(minute - half, value), (minute + half, value)]
        paths.append("M" + "L".join(f"{axes.x(minute)} {axes.y(value)}" for minute, value in piece))
    return paths


def _bars(series: Series, axes: _Axes) -> list[tuple[str, float, float, float, float]]:
    ground = axes.y(max(axes.low, 0.0))
    bars = []
    for minute, value in series.values:
        if value:
            left, top = axes.x(minute), axes.y(value)
            width = max(1.0, round(axes.x(minute + series.step) - left - 1, 1))
            bars.append((series.kind, left, top, width, round(ground - top, 1)))
    return bars


def _nice(low: float, high: float) -> tuple[float, float, float]:
    """Return ends and step of an axis that holds the values, with round numbers."""
    if high - low < 1e-9 * max(abs(high), 1e-9):
        spread = abs(high) * 0.1 or 1.0
        low, high = (low, high + spread) if low == 0 else (low - spread, high + spread)
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step


def time_labels(since: float, until: float) -> list[tuple[float, str]]:
    """Return round local times within a span of minutes, with their labels."""
    hours = (until - since) / 60
    every = next((step for step in _HOURS if hours / step <= _LABELS), _HOURS[-1]) * 60
    pattern = "%H:%M" if every < 1440 else "%d.%m."
    labels: dict[float, str] = {}
    for moment in _round_times(since, until, timedelta(minutes=every)):
        midnight = every < 1440 and moment.hour == moment.minute == 0
        labels[moment.timestamp() / 60] = moment.strftime("%d.%m." if midnight else pattern)
    return [(minute, label) for minute, label in labels.items() if since <= minute <= until]


def _round_times(since: float, until: float, every: timedelta) -> Iterator[datetime]:
    """Yield round times on the clock on the wall, whose days may have 23 or 25 hours."""
    start, end = (
        as_local(datetime.fromtimestamp(minute * 60, timezone.utc).isoformat()).replace(tzinfo=None)
        for minute in (since, until)
    )
    begin = start.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    moment = begin + (start - begin) // every * every
    while moment <= end:
        yield moment.astimezone()  # 03:30 for a 02:30 that is left out
        moment += every
