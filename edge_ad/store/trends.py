"""How a line went over time: rejects, scores, latency, drops and light in equal steps."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from edge_ad.clock import as_utc
from edge_ad.store.reading import EventFilter, Record, open_snapshot, read_open
from edge_ad.store.statistics import bin_score

QUANTILES = (0.5, 0.9, 0.99)
_EVENTS = ("drift", "setting", "engine", "bundle", "line", "reject_rate")
_SHOWN = 200  # events beside the chart, the newest
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440)  # minutes
_POINTS = 120
_GROUPED = """
SELECT CAST(strftime('%s', minute) AS INTEGER) / 60 / ? AS step,
    sum(passed) AS passed, sum(rejected) AS rejected,
    sum(invalid) AS invalid, sum(dropped) AS dropped,
    sum(json_extract(latency_ms, '$.p50') * (passed + rejected))
        / sum(iif(latency_ms IS NULL, NULL, passed + rejected)) AS p50_ms,
    max(json_extract(latency_ms, '$.p99')) AS p99_ms,
    avg(brightness) AS brightness, avg(sharpness) AS sharpness, NULL AS scores
FROM statistics WHERE minute >= ? AND minute < ? AND (camera = ? OR ? = '')
GROUP BY step ORDER BY step
"""


@dataclass
class TrendPoint:
    """One step, from `start` (a text in UTC). What nothing was measured of is None.

    `scores` are quantiles of the scores (`QUANTILES`), to the 4.4 % of a bin; `p50_ms` is the mean
    of the minutes' medians, `p99_ms` that of the slowest minute. Light is the mean of its minutes.
    """

    start: str
    passed: int = 0
    rejected: int = 0
    invalid: int = 0
    dropped: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    brightness: float | None = None
    sharpness: float | None = None
    scores: tuple[float, ...] | None = None

    @property
    def judged(self) -> int:
        """Parts with a verdict of PASS or REJECT."""
        return self.passed + self.rejected

    @property
    def share(self) -> float | None:
        """The rejected share of judged parts."""
        return self.rejected / self.judged if self.judged else None


@dataclass
class Trend:
    """A camera (all if empty) from `since` to `until`, in steps of `step_minutes`.

    Steps without a minute of statistics are not among the `points`. `events` are what may explain
    a change: drift, settings, engines and starts, oldest first.
    """

    camera: str
    since: str
    until: str
    step_minutes: int
    points: list[TrendPoint] = field(default_factory=list)
    events: list[Record] = field(default_factory=list)

    @property
    def total(self) -> TrendPoint:
        """The counts of the whole span."""
        total = TrendPoint(self.since)
        for point in self.points:
            for name in ("passed", "rejected", "invalid", "dropped"):
                setattr(total, name, getattr(total, name) + getattr(point, name))
        latest = [point.p99_ms for point in self.points if point.p99_ms is not None]
        total.p99_ms = max(latest, default=None)
        return total


def step_for(minutes: int) -> int:
    """Return the step, in minutes, that shows a span in at most 120 points."""
    return next((step for step in STEPS if minutes <= step * _POINTS), STEPS[-1])


def read_trend(folder: Path, camera: str, since: str, until: str, step_minutes: int) -> Trend:
    """Read a span (texts in UTC). Raises like `open_reading`.

    Scores of several cameras are not comparable, so that only one camera's trend has them.
    """
    trend = Trend(camera, since, until, step_minutes)
    with open_snapshot(folder) as connection:
        rows = connection.execute(_GROUPED, (step_minutes, since[:16], until[:16], camera, camera))
        trend.points = [_point(row, step_minutes) for row in rows]
        if camera:
            _add_scores(trend, connection)
        chosen = EventFilter((camera,) if camera else (), _EVENTS, since, until, _SHOWN)
        trend.events = list(read_open(connection, chosen))
        if camera:
            chosen = EventFilter((), ("line", "engine", "bundle"), since, until, _SHOWN)
            trend.events += [
                event for event in read_open(connection, chosen) if event["camera"] is None
            ]
    trend.events.sort(key=lambda event: int(event["seq"]))
    return trend


def _point(row: sqlite3.Row, step_minutes: int) -> TrendPoint:
    start = datetime.fromtimestamp(row["step"] * step_minutes * 60, timezone.utc)
    values = {name: row[name] for name in row.keys() if name not in ("step", "scores")}
    return TrendPoint(as_utc(start), **values)


def _add_scores(trend: Trend, connection: sqlite3.Connection) -> None:
    """Merge the histograms of each step's minutes into quantiles."""
    steps: dict[int, Counter[int]] = {}
    rows = connection.execute(
        "SELECT CAST(strftime('%s', minute) AS INTEGER) / 60 / ? AS step, scores FROM statistics "
        "WHERE minute >= ? AND minute < ? AND camera = ?",
        (trend.step_minutes, trend.since[:16], trend.until[:16], trend.camera),
    )
    for row in rows:
        counts = steps.setdefault(row["step"], Counter())
        counts.update({int(number): count for number, count in json.loads(row["scores"]).items()})
    for point, counts in zip(trend.points, (steps[step] for step in sorted(steps)), strict=True):
        point.scores = quantiles(counts) if counts else None


def quantiles(counts: Counter[int]) -> tuple[float, ...]:
    """Return the scores below which each of `QUANTILES` lie, from counts by bin."""
    total, ordered = sum(counts.values()), sorted(counts.items())
    values, below, place = [], 0, 0
    for share in QUANTILES:
        while below + ordered[place][1] < share * total:
            below += ordered[place][1]
            place += 1
        values.append(bin_score(ordered[place][0]))
    return tuple(values)
