"""Find events as a person looks for them: a page at a time, by what they are and what was noted."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_ad.store.reading import (
    SELECT,
    EventFilter,
    Record,
    open_reading,
    store_id,
    to_record,
)

PAGE = 50
COUNTED = 10_000  # matches are counted up to here: a larger number is of no use
UNMARKED, UNSEEN = "unmarked", "unseen"
NOTES = ("false-alarm", "real", UNMARKED, UNSEEN)
_LISTED = "SELECT seq FROM events INDEXED BY events_listed"
_NOTED = (
    "(seq IN (SELECT refers FROM events WHERE refers IS NOT NULL AND type = '{type}') OR alarm IN "
    "(SELECT alarm FROM events WHERE refers IS NOT NULL AND type = '{type}' AND alarm IS NOT NULL))"
)
_LAST_MARK = (
    "(SELECT step FROM events AS note WHERE note.type = 'mark' AND (note.refers = events.seq OR "
    "note.alarm = events.alarm) ORDER BY note.seq DESC LIMIT 1)"
)
_FIRST_STEP = "(type <> 'alarm' OR step = 'new')"


@dataclass(frozen=True, slots=True)
class EventSearch:
    """Which events to list; empty fields do not limit.

    An alarm is listed once, by its first step. `noted` is one of `NOTES`. `min_area_px` is that of
    an event's largest region, `part` a part's number.
    """

    chosen: EventFilter = field(default_factory=EventFilter)
    noted: str = ""
    min_area_px: int = 0
    part: int | None = None

    def where(self) -> tuple[str, list[object]]:
        """Return the condition in SQL, and its values."""
        where, values = self.chosen.where()
        terms = [where, _FIRST_STEP, *_noted_terms(self.noted)]
        if self.noted in ("false-alarm", "real"):
            values.append(self.noted)
        if self.min_area_px:
            terms.append("area_px >= ?")
            values.append(self.min_area_px)
        if self.part is not None:
            terms.append("part = ?")
            values.append(self.part)
        return " AND ".join(terms), values


@dataclass(frozen=True)
class EventPage:
    """Events that match, newest first, and whether there are `newer` and `older` ones.

    `count` is how many match in all, at most `COUNTED`.
    """

    events: list[Record]
    count: int
    newer: bool
    older: bool


@dataclass(frozen=True)
class EventView:
    """One event with what belongs to it.

    `steps` are those of its alarm, `notes` what people said, both oldest first; `earlier` and
    `later` are its neighbours among the events searched, if any; `is_open` says that its alarm is.
    """

    event: Record
    steps: list[Record]
    notes: list[Record]
    earlier: Record | None
    later: Record | None
    is_open: bool


def find_events(
    folder: Path,
    search: EventSearch,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = PAGE,
) -> EventPage:
    """Return a page of events: the newest, or those next to a `seq`.

    Raises like `open_reading`.
    """
    where, values = search.where()
    with open_reading(folder) as connection:
        store = store_id(connection)
        if after is not None:
            rows = _rows(connection, f"{where} AND seq > ?", [*values, after], "ASC", limit + 1)
            newer, rows = len(rows) > limit, rows[:limit][::-1]
            older = bool(rows) and _any(connection, where, values, "<", rows[-1]["seq"])
        else:
            bound = before if before is not None else 1 << 62
            rows = _rows(connection, f"{where} AND seq < ?", [*values, bound], "DESC", limit + 1)
            older, rows = len(rows) > limit, rows[:limit]
            newer = before is not None and _any(connection, where, values, ">=", before)
        count = connection.execute(
            f"SELECT count(*) FROM ({_LISTED} WHERE {where} LIMIT ?)", [*values, COUNTED]
        ).fetchone()[0]
    return EventPage([to_record(row, store) for row in rows], count, newer, older)


def find_event(folder: Path, seq: int, search: EventSearch) -> EventView | None:
    """Return an event with what belongs to it; None when there is none. Raises like `open_reading`.

    An alarm is its first step, whichever `seq` of it is given.
    """
    where, values = search.where()
    with open_reading(folder) as connection:
        store = store_id(connection)
        first = _first_step(connection, seq)
        if first is None:
            return None
        event = _records(connection, store, "seq = ?", [first])[0]
        alarm = event.get("alarm") if event["type"] == "alarm" else None
        about = "type IN ('ack', 'mark') AND (refers = ? OR alarm = ?)"
        steps = [] if alarm is None else _records(
            connection, store, "type = 'alarm' AND alarm = ?", [alarm]
        )  # fmt: skip
        earlier = _rows(connection, f"{where} AND seq < ?", [*values, first], "DESC", 1)
        later = _rows(connection, f"{where} AND seq > ?", [*values, first], "ASC", 1)
        return EventView(
            event,
            steps,
            _records(connection, store, about, [first, alarm]),
            to_record(earlier[0], store) if earlier else None,
            to_record(later[0], store) if later else None,
            bool(steps) and steps[-1]["step"] != "end",
        )


def find_by_numbers(folder: Path, numbers: Sequence[int]) -> list[Record]:
    """Return the events with these `seq`, oldest first. Raises like `open_reading`."""
    with open_reading(folder) as connection:
        store = store_id(connection)
        records: list[Record] = []
        for start in range(0, len(numbers), 500):  # SQLite takes so many values at once
            chosen = list(numbers[start : start + 500])
            marks = ", ".join("?" * len(chosen))
            records += _records(connection, store, f"seq IN ({marks})", chosen)
    return sorted(records, key=lambda record: int(record["seq"]))


def _noted_terms(noted: str) -> list[str]:
    """Return conditions for what people said; marks are few, so events without one are cheap."""
    if noted == UNSEEN:
        return [f"NOT ifnull({_NOTED.format(type='ack')}, 0)", "type NOT IN ('ack', 'mark')"]
    if noted == UNMARKED:
        return [f"NOT ifnull({_NOTED.format(type='mark')}, 0)", "type NOT IN ('ack', 'mark')"]
    if noted:
        return ["type NOT IN ('ack', 'mark')", _NOTED.format(type="mark"), f"{_LAST_MARK} = ?"]
    return []


def _first_step(connection: sqlite3.Connection, seq: int) -> int | None:
    row = connection.execute("SELECT type, alarm FROM events WHERE seq = ?", (seq,)).fetchone()
    if row is None or row["type"] != "alarm":
        return None if row is None else seq
    first = connection.execute(
        "SELECT min(seq) FROM events WHERE type = 'alarm' AND alarm = ?", (row["alarm"],)
    ).fetchone()
    return int(first[0])


def _rows(
    connection: sqlite3.Connection, where: str, values: list[object], order: str, limit: int
) -> list[sqlite3.Row]:
    return connection.execute(
        f"{SELECT} WHERE seq IN ({_LISTED} WHERE {where} ORDER BY seq {order} LIMIT ?) "
        f"ORDER BY seq {order}",
        [*values, limit],
    ).fetchall()


def _any(
    connection: sqlite3.Connection, where: str, values: list[object], sign: str, seq: int
) -> bool:
    row = connection.execute(f"{_LISTED} WHERE {where} AND seq {sign} ? LIMIT 1", [*values, seq])
    return row.fetchone() is not None


def _records(
    connection: sqlite3.Connection, store: str, where: str, values: Sequence[object]
) -> list[Record]:
    rows = connection.execute(f"{SELECT} WHERE {where} ORDER BY seq", list(values))
    return [to_record(row, store) for row in rows]
