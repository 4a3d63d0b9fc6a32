"""What another threshold would have rejected, from what a store keeps of scores.

Rejected parts are events with their exact score. Of parts that passed, the statistics keep how many
scores fell into each bin of 4.4 %. So the answer is exact where no passed part lies in the bin of
the threshold asked for, and else lies between two numbers.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from edge_ad.clock import as_utc
from edge_ad.store.reading import open_snapshot
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
_CHANGES = (
    "FROM events WHERE type = 'setting' AND kind = 'threshold' AND camera = ? AND time_utc >= ? "
    "AND time_utc < ? ORDER BY seq"
)
_CHANGED = 50  # changes, the newest, that begin a span
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
class ScoreSpan:
    """Scores of whole minutes under the same thresholds.

    `judged` parts, `rejected` of them. `bins` counts all scores by their bin
    (`edge_ad.store.statistics`). `exact` are scores of rejected parts, and `passed` the bins of the
    rest; the rejects of a minute whose events are not all there count among the latter.
    `thresholds` are those that are known to have been in force.
    """

    judged: int
    rejected: int
    bins: Counter[int]
    exact: list[float]
    passed: Counter[int]
    thresholds: frozenset[float]

    def above(self, threshold: float) -> tuple[int, int]:
        """Return the least and the most parts that can have had a score above a threshold."""
        own = score_bin(threshold)
        least = sum(score > threshold for score in self.exact)
        higher = sum(count for number, count in self.passed.items() if number > own)
        is_known = bool(self.thresholds) and len(self.exact) == self.rejected and not higher
        if is_known and threshold >= max(self.thresholds):  # what passed was not above those
            return least, least
        return least + higher, least + higher + self.passed[own]


@dataclass(frozen=True)
class ScoreHistory:
    """The scores of one camera's parts in the whole minutes of a span, and what was marked."""

    spans: list[ScoreSpan]
    marked: list[MarkedPart]

    @staticmethod
    def read(folder: Path, camera: str, since: str, until: str) -> ScoreHistory:
        """Read the minutes from `since` to `until` (texts in UTC). Raises like `open_reading`."""
        since, until = since[:16], until[:16]
        with open_snapshot(folder) as connection:
            spans = [
                _read_span(connection, camera, begin, end)
                for begin, end in _steady(connection, camera, since, until)
            ]
            return ScoreHistory(spans, _read_marked(connection, camera, since, until))

    @property
    def judged(self) -> int:
        """Parts with a score."""
        return sum(span.judged for span in self.spans)

    @property
    def rejected(self) -> int:
        """Parts that were rejected."""
        return sum(span.rejected for span in self.spans)

    @property
    def bins(self) -> Counter[int]:
        """All scores, counted by their bin."""
        return sum((span.bins for span in self.spans), Counter[int]())


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
    bounds = [span.above(threshold) for span in history.spans]
    real = [part for part in history.marked if part.marked == "real"]
    false = [part for part in history.marked if part.marked == "false-alarm"]
    return WhatIf(
        threshold=threshold,
        judged=history.judged,
        rejected=history.rejected,
        least=sum(least for least, _ in bounds),
        most=sum(most for _, most in bounds),
        escapes=[part for part in real if part.score <= threshold],
        spared=[part for part in false if part.score <= threshold],
        marked_real=len(real),
        marked_false=len(false),
    )


def _steady(
    connection: sqlite3.Connection, camera: str, since: str, until: str
) -> Iterator[tuple[str, str]]:
    """Yield begin and end of the spans without a change of the threshold, and of the others."""
    rows = connection.execute(f"SELECT time_utc {_CHANGES}", (camera, since, until)).fetchall()
    changed = [row["time_utc"][:16] for row in rows[-_CHANGED:]]
    ends = sorted({since, until, *changed, *map(_next_minute, changed)})
    inside = [minute for minute in ends if since <= minute <= until]
    yield from pairwise(inside)


def _read_span(connection: sqlite3.Connection, camera: str, since: str, until: str) -> ScoreSpan:
    span = (camera, since, until)
    counts = connection.execute(f"{_COUNTS} GROUP BY minute", span).fetchall()
    rejected = Counter[str]()
    for row in counts:
        rejected[row["minute"][:16]] += row["rejected"]
    rows = connection.execute(_BINS, span)
    bins = Counter({int(row["number"]): int(row["count"]) for row in rows})
    scores: dict[str, list[float]] = defaultdict(list)
    for row in connection.execute(_REJECTS, span):
        scores[row["time_utc"][:16]].append(row["score"])
    exact = [
        score
        for minute, of_minute in scores.items()
        for score in of_minute
        if len(of_minute) == rejected[minute]  # else some were deleted, or never counted
    ]
    return ScoreSpan(
        judged=sum(row["judged"] for row in counts),
        rejected=sum(rejected.values()),
        bins=bins,
        exact=exact,
        passed=bins - Counter(map(score_bin, exact)),
        thresholds=frozenset(_thresholds(connection, camera, since, until)),
    )


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
    for row in connection.execute(f"SELECT old, new {_CHANGES}", span):
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


def _next_minute(minute: str) -> str:
    return as_utc(datetime.fromisoformat(f"{minute}+00:00") + timedelta(minutes=1))[:16]


def span_before(until: str, minutes: int) -> tuple[str, str]:
    """Return the begin and end of this many minutes before a time, texts in UTC."""
    end = datetime.fromisoformat(until)
    return as_utc(end - timedelta(minutes=minutes)), until
