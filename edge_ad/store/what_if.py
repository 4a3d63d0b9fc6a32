"""What another threshold would have rejected, from what a store keeps of scores.

Rejected parts are events with their exact score. Of parts that passed, the statistics keep how many
scores fell into each bin of 4.4 %. So the answer is exact where no passed part lies in the bin of
the threshold asked for, and else lies between two numbers.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from edge_ad.clock import as_utc
from edge_ad.store.reading import open_reading
from edge_ad.store.statistics import score_bin

_MARKED = (
    "SELECT note.step AS marked, note.seq AS note_seq, about.* FROM events AS note "
    "JOIN events AS about ON about.seq = note.refers "
    "WHERE note.refers IS NOT NULL AND note.type = 'mark' AND about.camera = ? "
    "AND about.time_utc >= ? AND about.time_utc < ? ORDER BY note.seq"
)
_COUNTS = (
    "SELECT minute, sum(passed + rejected) AS judged, sum(rejected) AS rejected FROM statistics "
    "WHERE camera = ? AND minute >= ? AND minute < ?"
)
_BINS = (
    "SELECT key AS number, sum(value) AS count FROM statistics, json_each(scores) "
    "WHERE camera = ? AND minute >= ? AND minute < ? GROUP BY key"
)
_REJECTS = (
    "SELECT time_utc, score FROM events WHERE type = 'reject' AND camera = ? AND time_utc >= ? "
    "AND time_utc < ? AND score IS NOT NULL"
)
_PEAK = "SELECT max(score) FROM events WHERE type = 'alarm' AND alarm = ?"


@dataclass(frozen=True, slots=True)
class MarkedPart:
    """A rejected part or an alarm that somebody marked `false-alarm` or `real`."""

    seq: int
    time_utc: str
    score: float
    marked: str
    part: int | None
    alarm: str


@dataclass(frozen=True)
class ScoreHistory:
    """The scores of one camera's parts in the whole minutes of a span.

    `judged` parts, `rejected` of them. `bins` counts all scores by their bin
    (`edge_ad.store.statistics`). `exact` are scores of rejected parts, ascending, and `passed` the
    bins of the rest; the rejects of a minute whose events are not all there count among the latter.
    `thresholds` are those that are known to have been in force.
    """

    judged: int
    rejected: int
    bins: Counter[int]
    exact: list[float]
    passed: Counter[int]
    thresholds: frozenset[float]
    marked: list[MarkedPart]

    @staticmethod
    def read(folder: Path, camera: str, since: str, until: str) -> ScoreHistory:
        """Read the minutes from `since` to `until` (texts in UTC). Raises like `open_reading`."""
        since, until = since[:16], until[:16]
        with open_reading(folder) as connection:
            minutes = _Minutes(connection, camera, since, until)
            exact, passed = minutes.split()
            return ScoreHistory(
                judged=minutes.judged,
                rejected=sum(minutes.rejected.values()),
                bins=minutes.bins,
                exact=exact,
                passed=passed,
                thresholds=frozenset(_thresholds(connection, camera, since, until)),
                marked=_read_marked(connection, camera, since, until),
            )


@dataclass(frozen=True)
class WhatIf:
    """What a threshold would have done in a span: rejects between `least` and `most`.

    `judged` parts had a score, `rejected` were rejected then. `escapes` are parts marked real that
    would have passed, `spared` those marked as false alarms that would have passed, too;
    `still_rejected` counts the marked false alarms that remain.
    """

    threshold: float
    judged: int
    rejected: int
    least: int
    most: int
    escapes: list[MarkedPart]
    spared: list[MarkedPart]
    marked_real: int
    marked_false: int

    @property
    def is_exact(self) -> bool:
        """Whether the count is known to the part."""
        return self.least == self.most


def what_if(history: ScoreHistory, threshold: float) -> WhatIf:
    """Return what a threshold would have rejected: scores above it, as on the line."""
    own = score_bin(threshold)
    above = len(history.exact) - bisect_right(history.exact, threshold)
    higher = sum(count for number, count in history.passed.items() if number > own)
    unsure = 0 if _bounds_passed(history, threshold, higher) else history.passed[own]
    real = [part for part in history.marked if part.marked == "real"]
    false = [part for part in history.marked if part.marked == "false-alarm"]
    return WhatIf(
        threshold=threshold,
        judged=history.judged,
        rejected=history.rejected,
        least=above + higher,
        most=above + higher + unsure,
        escapes=[part for part in real if part.score <= threshold],
        spared=[part for part in false if part.score <= threshold],
        marked_real=len(real),
        marked_false=len(false),
    )


def _bounds_passed(history: ScoreHistory, threshold: float, higher: int) -> bool:
    """Return whether no part that passed can have had a score above this threshold."""
    known = bool(history.thresholds) and len(history.exact) == history.rejected
    return known and threshold >= max(history.thresholds) and not higher


class _Minutes:
    """The statistics and rejects of one camera by minute."""

    def __init__(self, connection: sqlite3.Connection, camera: str, since: str, until: str) -> None:
        span = (camera, since, until)
        counts = connection.execute(f"{_COUNTS} GROUP BY minute", span).fetchall()
        self.judged = sum(row["judged"] for row in counts)
        self.rejected: Counter[str] = Counter()
        for row in counts:
            self.rejected[row["minute"][:16]] += row["rejected"]
        self.bins = Counter(
            {int(row["number"]): row["count"] for row in connection.execute(_BINS, span)}
        )
        self._events: dict[str, list[float]] = defaultdict(list)
        for row in connection.execute(_REJECTS, span):
            self._events[row["time_utc"][:16]].append(row["score"])

    def split(self) -> tuple[list[float], Counter[int]]:
        """Return the exact scores of rejected parts, ascending, and the bins of the rest."""
        exact = [
            score
            for minute, scores in self._events.items()
            for score in scores
            if len(scores) == self.rejected[minute]  # else some were deleted, or never counted
        ]
        return sorted(exact), self.bins - Counter(map(score_bin, exact))


def _thresholds(
    connection: sqlite3.Connection, camera: str, since: str, until: str
) -> Iterable[float]:
    span = (camera, since, until)
    for row in connection.execute(
        "SELECT DISTINCT threshold FROM events WHERE type = 'reject' AND camera = ? "
        "AND time_utc >= ? AND time_utc < ? AND threshold IS NOT NULL",
        span,
    ):
        yield row["threshold"]
    for row in connection.execute(
        "SELECT old, new FROM events WHERE type = 'setting' AND kind = 'threshold' AND camera = ? "
        "AND time_utc >= ? AND time_utc < ?",
        span,
    ):
        yield from (float(json.loads(row[name])) for name in ("old", "new"))


def _read_marked(
    connection: sqlite3.Connection, camera: str, since: str, until: str
) -> list[MarkedPart]:
    """Return what was marked, each part or alarm once, as it was marked last; by score."""
    parts: dict[object, MarkedPart] = {}
    for row in connection.execute(_MARKED, (camera, since, until)):
        score = row["score"]
        if row["type"] == "alarm":
            score = connection.execute(_PEAK, (row["alarm"],)).fetchone()[0]
        if score is None:  # a fault has none
            continue
        key = row["seq"] if row["part"] is None else ("part", row["part"])
        known = parts.get(key)
        parts[key] = MarkedPart(
            row["seq"], row["time_utc"], max(score, known.score if known else score),
            row["marked"], row["part"], row["alarm"] or "",
        )  # fmt: skip
    return sorted(parts.values(), key=lambda part: part.score)


def span_before(until: str, minutes: int) -> tuple[str, str]:
    """Return the begin and end of so many minutes before a time, texts in UTC."""
    end = datetime.fromisoformat(until)
    return as_utc(end - timedelta(minutes=minutes)), until
