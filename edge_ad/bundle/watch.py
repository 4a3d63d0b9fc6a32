"""Watch the first minutes of a version, and decide whether it stays."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from edge_ad.bundle.manifest import WatchLimits
from edge_ad.bundle.state import Watch
from edge_ad.clock import as_utc
from edge_ad.store.reading import open_reading
from edge_ad.store.schema import DATABASE

_BEFORE = timedelta(hours=24)
_Z = 1.645  # one-sided, 95 %


@dataclass(frozen=True, slots=True)
class LineFigures:
    """What a line did in a time: parts by verdict, camera faults that began, starts.

    `minutes` are those in which it judged parts.
    """

    passed: int = 0
    rejected: int = 0
    invalid: int = 0
    faults: int = 0
    starts: int = 0
    minutes: int = 0

    @property
    def parts(self) -> int:
        """All parts."""
        return self.passed + self.rejected + self.invalid


@dataclass(frozen=True, slots=True)
class WatchDecision:
    """Whether a version is kept, for which reason."""

    outcome: Literal["wait", "accept", "roll back"]
    reason: str


def read_figures(output: Path, watch: Watch) -> tuple[LineFigures, LineFigures]:
    """Return what the line did in the day before a switch and since, from its store.

    Statistics are kept by minute; the minute of the switch belongs to neither. Raises EdgeAdError.
    """
    if not (output / DATABASE).exists():
        return LineFigures(), LineFigures()
    since = datetime.fromisoformat(watch.since_utc)
    before = as_utc(since - _BEFORE)
    with open_reading(output) as connection:
        return (
            _figures(connection, before, watch.since_utc),
            _figures(connection, watch.since_utc, as_utc(since + timedelta(days=3650))),
        )


def decide(
    before: LineFigures, since: LineFigures, limits: WatchLimits, elapsed_s: float,
    restarted_s: float | None,
) -> WatchDecision:  # fmt: skip
    """Decide about a version that was switched to `elapsed_s` seconds ago.

    `restarted_s` is how long ago the line was asked to start again, None if it was not. A share
    counts as too high when its lower confidence bound (Wilson, 95 %) exceeds its limit.
    """
    if problem := _problem(before, since, limits):
        return WatchDecision("roll back", problem)
    if not since.starts:
        if restarted_s is not None and restarted_s > limits.start_s:
            return WatchDecision(
                "roll back", f"the line has not started within {limits.start_s:g} s"
            )
        return WatchDecision("wait", "the line has not started with it yet")
    if elapsed_s < limits.minutes * 60:
        return WatchDecision("wait", f"{elapsed_s / 60:.1f} of {limits.minutes:g} minutes")
    if since.parts < limits.parts:
        return WatchDecision("wait", f"{since.parts} of {limits.parts} parts were judged")
    return WatchDecision(
        "accept",
        f"{since.parts} parts: {since.rejected} rejected, {since.invalid} invalid; camera faults: "
        f"{since.faults}",
    )


def _problem(before: LineFigures, since: LineFigures, limits: WatchLimits) -> str:
    judged, judged_before = since.passed + since.rejected, before.passed + before.rejected
    reject_limit = _limit(limits.reject_rate, before.rejected, judged_before, limits.rise)
    invalid_limit = _limit(limits.invalid_rate, before.invalid, before.parts, limits.rise)
    hours_before, hours = before.minutes / 60, max(since.minutes, 1) / 60
    usual = before.faults / hours_before if hours_before else 0.0
    faults_limit = max(limits.faults, limits.rise * usual * hours)
    if since.starts - 1 > limits.restarts:
        return f"the line has started {since.starts} times"
    if since.faults > faults_limit:
        return f"{since.faults} camera faults, the limit is {faults_limit:.3g}"
    if judged >= limits.parts and lower_bound(since.rejected, judged) > reject_limit:
        return (
            f"{since.rejected} of {judged} parts rejected, the limit is {reject_limit:.2%} "
            f"({before.rejected} of {judged_before} before)"
        )
    if since.parts >= limits.parts and lower_bound(since.invalid, since.parts) > invalid_limit:
        return (
            f"{since.invalid} of {since.parts} parts invalid, the limit is {invalid_limit:.2%} "
            f"({before.invalid} of {before.parts} before)"
        )
    return ""


def lower_bound(count: int, total: int) -> float:
    """Return the lower end of Wilson's interval for a share (one-sided, 95 %)."""
    if not total:
        return 0.0
    share, square = count / total, _Z * _Z / total
    root = math.sqrt(share * (1 - share) / total + square / (4 * total))
    return (share + square / 2 - _Z * root) / (1 + square)


def _limit(floor: float, count: int, total: int, rise: float) -> float:
    return max(floor, rise * count / total if total else 0.0)


def _figures(connection: sqlite3.Connection, since: str, until: str) -> LineFigures:
    row: Any = connection.execute(
        "SELECT coalesce(sum(passed), 0), coalesce(sum(rejected), 0), coalesce(sum(invalid), 0), "
        "count(DISTINCT minute) FROM statistics WHERE minute > ? AND minute < ?",
        (since[:16] + "Z", until[:16]),
    ).fetchone()
    faults, starts = connection.execute(
        "SELECT coalesce(sum(type = 'alarm' AND kind = 'camera_fault' AND step = 'new'), 0), "
        "coalesce(sum(type = 'line' AND step = 'start'), 0) FROM events "
        "WHERE time_utc >= ? AND time_utc < ?",
        (since, until),
    ).fetchone()
    passed, rejected, invalid, minutes = row
    return LineFigures(passed, rejected, invalid, faults, starts, minutes)
