"""Read what a line does at this moment: its cameras from the line, the hour from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from edge_ad.clock import as_utc
from edge_ad.control.client import LineAway, LineLink, RequestRefused
from edge_ad.errors import EdgeAdError
from edge_ad.store.reading import open_reading

_HOUR = (
    "SELECT camera, sum(passed) AS passed, sum(rejected) AS rejected, sum(invalid) AS invalid, "
    "max(minute) AS last FROM statistics WHERE minute >= ? GROUP BY camera"
)
_WAITING = (
    "SELECT name, error, (SELECT count(*) FROM outbox WHERE outlet = id) AS waiting FROM outlets "
    "WHERE active AND error IS NOT NULL ORDER BY id"
)
_STOPPED = "SELECT time_utc FROM events WHERE type = 'line' ORDER BY seq DESC LIMIT 1"


@dataclass
class HourCounts:
    """Parts of one camera in the last hour."""

    passed: int = 0
    rejected: int = 0
    invalid: int = 0

    @property
    def parts(self) -> int:
        """All parts, judged or not."""
        return self.passed + self.rejected + self.invalid


@dataclass(frozen=True, slots=True)
class StoreHour:
    """What the store says about the last hour.

    `outlets` are those that do not take events: name, error, how many wait. `line_utc` is when
    the line started or stopped last, empty when the store does not know.
    """

    begin: str = ""  # its first minute
    counts: Mapping[str, HourCounts] = field(default_factory=dict)
    outlets: tuple[tuple[str, str, int], ...] = ()
    line_utc: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A line at one moment. `line` is its answer to `live`, None when it has none.

    `hangs` says that it runs but did not answer in time.
    """

    line: Mapping[str, Any] | None
    hour: StoreHour
    hangs: bool = False

    def counts(self, camera: Mapping[str, Any]) -> HourCounts:
        """Return the counts of a camera's last hour, with the minute that is under way."""
        kept = self.hour.counts.get(camera["camera"], HourCounts())
        now = camera["under_way"]
        if now is None or now["minute"] < self.hour.begin:
            return kept
        return HourCounts(
            kept.passed + now["PASS"], kept.rejected + now["REJECT"], kept.invalid + now["INVALID"]
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
        with open_reading(folder) as connection:
            counts = {
                row["camera"]: HourCounts(row["passed"], row["rejected"], row["invalid"])
                for row in connection.execute(_HOUR, (begin,))
            }
            outlets = tuple(tuple(row) for row in connection.execute(_WAITING))
            stopped = connection.execute(_STOPPED).fetchone()
    except EdgeAdError as error:
        return StoreHour(begin, problem=str(error))
    return StoreHour(begin, counts, outlets, stopped[0] if stopped else "")
