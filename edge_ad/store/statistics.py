"""Statistics of each camera and minute: verdicts, scores, latency, drops and light.

A row holds the minute it was counted in; a line that starts again within a minute, or a clock that
is set back, adds a second row for it. Readers add them up. The minutes under way are kept beside
the rows every ten seconds, and become rows when the line starts again after it was killed.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from edge_ad.frame import Image
from edge_ad.frame_light import light_of
from edge_ad.inspection import Inspection, Verdict
from edge_ad.quantiles import percentiles_ms
from edge_ad.store.writer import Job

_PER_OCTAVE = 16  # bins: 4.4 % wide
_LARGEST = 1e300  # of a finite score that a bin is computed for
_SMALLEST = 1e-4  # scores around 0 are binned linearly
_TIMES_KEPT = 20_000  # latencies a minute
_LOOK_EVERY_S = 1.0  # brightness and sharpness
_KEEP_EVERY_S = 10.0  # minutes under way
_UNDER_WAY = "minutes"  # their key in the table meta
_COLUMNS = ("minute", "camera", "passed", "rejected", "invalid", "dropped",
            "scores", "latency_ms", "brightness", "sharpness")  # fmt: skip
_Row = tuple[object, ...]


@dataclass
class _Minute:
    """What one camera did in one minute."""

    minute: str
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    scores: Counter[int] = field(default_factory=Counter)
    latency_s: list[float] = field(default_factory=list)
    brightness: list[float] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    looked_s: float = -math.inf


class MinuteStatistics:
    """Counts inspections in memory; `put` receives a row when a camera's minute is over.

    `dropped` returns the frames that each camera dropped so far.
    """

    def __init__(
        self,
        put: Callable[[Job, int], bool],
        dropped: Callable[[], dict[str, int]],
    ) -> None:
        self._put, self._dropped = put, dropped
        self._minutes: dict[str, _Minute] = {}
        self._dropped_before: dict[str, int] = {}
        self._recent: dict[str, dict[str, Counter[Verdict]]] = {}  # camera, then minute
        self._kept_s = time.monotonic()
        self._keeps = False  # a job that has not run yet, as while the disk is full

    def count(self, inspection: Inspection, image: Image | None) -> None:
        """Add an inspection to its camera's minute."""
        minute = inspection.time_utc[:16] + "Z"
        current = self._minutes.get(inspection.camera)
        if current is None or current.minute != minute:
            self.flush()
            current = self._minutes[inspection.camera] = _Minute(minute)
        current.verdicts[inspection.verdict] += 1
        self._count_recent(inspection, minute)
        if inspection.verdict is not Verdict.INVALID:
            current.scores[score_bin(inspection.score)] += 1
        served = inspection.latency_s and not inspection.missed_triggers
        if served and len(current.latency_s) < _TIMES_KEPT:  # late verdicts too
            current.latency_s.append(inspection.latency_s)
        now = time.monotonic()
        if image is not None and now - current.looked_s > _LOOK_EVERY_S:
            current.looked_s = now
            _look(current, image)
        if now - self._kept_s > _KEEP_EVERY_S and not self._keeps:
            self._kept_s = now
            self._keeps = self._put(partial(self._keep, rows=self._rows(self._dropped())), 0)

    def under_way(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return each camera's counts by verdict in its last two minutes, by minute.

        A reader of the store may not see the newest of its rows yet.
        """
        return {
            camera: {
                minute: {verdict.value: counts[verdict] for verdict in Verdict}
                for minute, counts in list(minutes.items())
            }
            for camera, minutes in list(self._recent.items())
        }

    def _count_recent(self, inspection: Inspection, minute: str) -> None:
        minutes = self._recent.setdefault(inspection.camera, {})
        if minute not in minutes:
            for old in list(minutes)[:-1]:  # as they came: clocks are set back
                del minutes[old]
            minutes[minute] = Counter()
        minutes[minute][inspection.verdict] += 1

    def flush(self) -> None:
        """Hand over all minutes begun."""
        dropped = self._dropped() if self._minutes else {}
        rows = self._rows(dropped)
        self._dropped_before |= {name: dropped[name] for name in self._minutes if name in dropped}
        self._minutes = {}
        if rows:
            self._put(partial(_insert, rows=rows), len(rows))

    def _rows(self, dropped: dict[str, int]) -> list[_Row]:
        rows = []
        for camera, minute in self._minutes.items():
            before = self._dropped_before.get(camera, 0)
            rows.append(_row(camera, minute, dropped.get(camera, before) - before))
        return rows

    def _keep(self, connection: sqlite3.Connection, rows: list[_Row]) -> None:
        self._keeps = False
        value = (_UNDER_WAY, json.dumps(rows))
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", value)


def restore_minutes(connection: sqlite3.Connection) -> None:
    """Make rows of the minutes that a line had under way when it was killed."""
    _insert(connection, _kept(connection))


def minutes_under_way(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return a row of each minute that is under way, or was when the line was killed."""
    return [dict(zip(_COLUMNS, row, strict=True)) for row in _kept(connection)]


def _kept(connection: sqlite3.Connection) -> list[_Row]:
    select = "SELECT value FROM meta WHERE key = ? AND json_valid(value)"
    return [
        row for found in connection.execute(select, (_UNDER_WAY,)) for row in json.loads(found[0])
    ]


def _insert(connection: sqlite3.Connection, rows: list[_Row]) -> None:
    connection.executemany(_INSERT, rows)
    connection.execute("DELETE FROM meta WHERE key = ?", (_UNDER_WAY,))


_INSERT = f"INSERT INTO statistics VALUES ({', '.join('?' * len(_COLUMNS))})"


def score_bin(score: float) -> int:
    """Return the number of the histogram's bin for a score: logarithmic, the sign kept."""
    if not math.isfinite(score):  # an engine whose score overflows
        score = math.copysign(_LARGEST, score)
    return round(bin_place(score))


def bin_place(score: float) -> float:
    """Return where a finite score lies among the bins, whose middles are whole numbers."""
    size = min(abs(score), _LARGEST)
    return math.copysign(_PER_OCTAVE * math.log2(1 + size / _SMALLEST), score)


def bin_score(number: float) -> float:
    """Return the score in the middle of a bin, or at a place between them."""
    return math.copysign(_SMALLEST * (2 ** (abs(number) / _PER_OCTAVE) - 1), number)


def _look(minute: _Minute, image: Image) -> None:
    brightness, sharpness = light_of(image)
    minute.brightness.append(brightness)
    minute.sharpness.append(sharpness)


def _row(camera: str, minute: _Minute, dropped: int) -> _Row:
    scores = {str(number): count for number, count in sorted(minute.scores.items())}
    return (
        minute.minute,
        camera,
        *(minute.verdicts[verdict] for verdict in (Verdict.PASS, Verdict.REJECT, Verdict.INVALID)),
        dropped,
        json.dumps(scores),
        json.dumps(percentiles_ms(minute.latency_s)) if minute.latency_s else None,
        _mean(minute.brightness),
        _mean(minute.sharpness),
    )


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None
