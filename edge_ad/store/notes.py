"""Write what people say about events: seen, a false alarm, real."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from edge_ad.errors import OutletLost, UsageError
from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.reading import open_reading
from edge_ad.store.schema import DATABASE, connect
from edge_ad.store.store import Store

_WITHIN_S = 2.0
MARKS = ("false-alarm", "real")


def acknowledge(folder: Path, ids: Sequence[str], who: str, note: str = "") -> list[int]:
    """Note that `who` has seen events, and return the notes' `seq`. See `add_notes`."""
    return add_notes(folder, ids, StoreEvent(EventType.ACK, who=who, reason=note))


def acknowledge_through(store: Store, ids: Sequence[str], who: str, note: str = "") -> bool:
    """Do the same through the store of a running line, and return whether it is on the disk.

    Raises UsageError for an event that the store does not have.
    """
    folder = store.path.parent
    with open_reading(folder) as reading:
        events = [_find(reading, folder, name) for name in ids]
    ack = StoreEvent(EventType.ACK, who=who, reason=note)

    def insert_all(connection: sqlite3.Connection) -> None:
        for event in events:
            insert(connection, _about(ack, event))

    return store.put_and_wait(insert_all, _WITHIN_S)


def mark(folder: Path, ids: Sequence[str], mark_as: str, who: str, note: str = "") -> list[int]:
    """Note that events are a false alarm or real (`MARKS`). See `add_notes`."""
    return add_notes(folder, ids, StoreEvent(EventType.MARK, step=mark_as, who=who, reason=note))


def add_notes(folder: Path, ids: Sequence[str], note: StoreEvent) -> list[int]:
    """Add a note to each event, all or none, also while a line writes.

    An id is a `seq`, an event's id or an alarm's. Raises UsageError for one that the store does not
    have, OutletLost when it cannot be written.
    """
    with open_reading(folder) as reading:  # checks that it is a store
        events = [_find(reading, folder, name) for name in ids]
    path = folder / DATABASE
    try:
        connection = connect(path, busy_s=10.0)
        try:
            connection.execute("BEGIN IMMEDIATE")
            notes = [insert(connection, _about(note, event)) for event in events]
            connection.execute("COMMIT")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OutletLost(f"{path}: cannot be written ({error}).") from error
    return notes


def add_event(folder: Path, event: StoreEvent) -> None:
    """Add an event of a program beside the line, also while the line writes.

    Raises UsageError for a folder without a store, OutletLost when it cannot be written.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise UsageError(f"{folder} has no {DATABASE}.")
    try:
        connection = connect(path, busy_s=10.0)
        try:
            connection.execute("BEGIN IMMEDIATE")
            insert(connection, event)
            connection.execute("COMMIT")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OutletLost(f"{path}: cannot be written ({error}).") from error


def _find(connection: sqlite3.Connection, folder: Path, name: str) -> sqlite3.Row:
    store = connection.execute("SELECT value FROM meta WHERE key = 'store'").fetchone()[0]
    number = name.removeprefix(f"{store}-")
    row = None
    if number.isascii() and number.isdigit() and len(number) < 19:
        row = connection.execute("SELECT * FROM events WHERE seq = ?", (int(number),)).fetchone()
    if row is None:
        row = connection.execute(
            "SELECT * FROM events WHERE alarm = ? ORDER BY seq LIMIT 1", (name,)
        ).fetchone()
    if row is None:
        raise UsageError(
            f"{folder} has no event '{name}'. Expected a seq, an event's id or an alarm's, as "
            f"printed by: edge-ad events {folder}"
        )
    assert isinstance(row, sqlite3.Row)
    return row


def _about(note: StoreEvent, event: sqlite3.Row) -> StoreEvent:
    """Return the note with what finds it again: the event, its alarm, camera and part."""
    return StoreEvent(
        note.type,
        step=note.step,
        who=note.who,
        reason=note.reason,
        refers=event["seq"],
        alarm=event["alarm"] or "",
        camera=event["camera"] or "",
        part=event["part"],
    )
