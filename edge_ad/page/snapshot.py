"""Read what a line does at this moment: its cameras from the line, the hour from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from edge_ad.clock import as_utc
from edge_ad.control.client import LineAway, LineLink, RequestRefused
from edge_ad.errors import EdgeAdError
from edge_ad.page.certificates import CertificateEnd
from edge_ad.store.reading import open_reading

_HOUR = (
    "SELECT camera, minute, sum(passed) AS passed, sum(rejected) AS rejected, "
    "sum(invalid) AS invalid FROM statistics WHERE minute >= ? GROUP BY camera, minute"
)
_WAITING = (
    "SELECT name, error, (SELECT count(*) FROM outbox WHERE outlet = id) AS waiting FROM outlets "
    "WHERE active AND error IS NOT NULL ORDER BY id"
)
_BUSY_S = 0.5  # a store that is locked for longer must not hold up verdicts and frames
_STOPPED = "SELECT time_utc FROM events WHERE type = 'line' ORDER BY seq DESC LIMIT 1"


@dataclass
class HourCounts:
    """Parts of one camera, in a minute or the hour."""

    passed: int = 0
    rejected: int = 0
    invalid: int = 0

    @property
    def parts(self) -> int:
        """All parts, judged or not."""
        return self.passed + self.rejected + self.invalid

    def largest(self, other: HourCounts) -> HourCounts:
        """Return the larger of each count, where two counted the same parts."""
        return HourCounts(
            max(self.passed, other.passed),
            max(self.rejected, other.rejected),
            max(self.invalid, other.invalid),
        )


@dataclass(frozen=True, slots=True)
class StoreHour:
    """What the store says about the last hour: `counts` by camera and minute.

    `outlets` are those that do not take events: name, error, how many wait. `line_utc` is when
    the line started or stopped last, empty when the store does not know.
    """

    begin: str = ""  # its first minute
    counts: Mapping[str, Mapping[str, HourCounts]] = field(default_factory=dict)
    outlets: tuple[tuple[str, str, int], ...] = ()
    line_utc: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A line at one moment. `line` is its answer to `live`, None when it has none.

    `hangs` says that it runs but did not answer in time; `ending` are certificates that end soon.
    """

    line: Mapping[str, Any] | None
    hour: StoreHour
    hangs: bool = False
    ending: Sequence[CertificateEnd] = ()

    def counts(self, camera: Mapping[str, Any]) -> HourCounts:
        """Return the counts of a camera's last hour.

        Of its last two minutes the line knows more than the store: the one under way, and the one
        before, whose row may have come after the store was read.
        """
        minutes = dict(self.hour.counts.get(camera["camera"], {}))
        for minute, by_verdict in (camera["under_way"] or {}).items():
            if minute >= self.hour.begin:
                counted = HourCounts(*(by_verdict[name] for name in ("PASS", "REJECT", "INVALID")))
                minutes[minute] = counted.largest(minutes.get(minute, counted))
        return HourCounts(
            sum(each.passed for each in minutes.values()),
            sum(each.rejected for each in minutes.values()),
            sum(each.invalid for each in minutes.values()),
        )


def look(link: LineLink, hour: StoreHour, known: Mapping[str, int] | None = None) -> Snapshot:
    """Return what the line says, beside what the store said; with `known`, frames too."""
    message = {"command": "live"} | ({} if known is None else {"known": dict(known)})
    try:
        return Snapshot(link.ask(message), hour)
    except LineAway as error:
        return Snapshot(None, hour, hangs=isinstance(error.__cause__, TimeoutError))
    except RequestRefused:  # a line of another version
        return Snapshot(None, hour, hangs=True)


def read_hour(folder: Path) -> StoreHour:
    """Return what the store says about the last hour; its `problem` when it cannot be read."""
    begin = as_utc(datetime.now(timezone.utc) - timedelta(minutes=59))[:16] + "Z"
    try:
        with open_reading(folder, _BUSY_S) as connection:
            counts: dict[str, dict[str, HourCounts]] = {}
            for row in connection.execute(_HOUR, (begin,)):
                minute = HourCounts(row["passed"], row["rejected"], row["invalid"])
                counts.setdefault(row["camera"], {})[row["minute"]] = minute
            outlets = tuple(tuple(row) for row in connection.execute(_WAITING))
            stopped = connection.execute(_STOPPED).fetchone()
    except EdgeAdError as error:
        return StoreHour(begin, problem=str(error))
    return StoreHour(begin, counts, outlets, stopped[0] if stopped else "")
