"""The outbox of a store: for each outlet, the events that it has not acknowledged yet.

An event enters in the transaction that commits it (`edge_ad.store.event.insert`) and leaves when it
was delivered, or refused so often that it became a dead letter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_ad.clock import now_utc
from edge_ad.errors import OutletLost, UsageError
from edge_ad.store.event import EventType, StoreEvent, delimited, insert
from edge_ad.store.reading import Record, open_reading, to_record
from edge_ad.store.schema import DATABASE, connect

DEAD_LETTERS = 10_000  # kept for each outlet
_BUSY_S = 10.0  # what another writer may take
_ID = "(SELECT id FROM outlets WHERE name = ?)"
_WAITING = f"SELECT seq FROM outbox WHERE outlet = {_ID} ORDER BY seq LIMIT ?"
_STATUS = (
    "SELECT name AS outlet, active, delivered, {count} AS waiting, {oldest} AS oldest_utc, "
    "{dead} AS dead, error, error_utc FROM outlets ORDER BY id"
).format(
    count="(SELECT count(*) FROM outbox WHERE outlet = id)",
    oldest="(SELECT time_utc FROM outbox JOIN events USING (seq) WHERE outlet = id "
    "ORDER BY seq LIMIT 1)",
    dead="(SELECT count(*) FROM dead_letters WHERE outlet = id)",
)
_ENQUEUE_START = (
    "INSERT OR IGNORE INTO outbox SELECT id, seq FROM outlets, events WHERE name = ? AND seq = "
    "(SELECT max(seq) FROM events WHERE type = 'line' AND step = 'start')"
)


@dataclass(frozen=True, slots=True)
class Subscription:
    """An outlet by its name, and the events that it takes: types, and cameras (all if empty)."""

    name: str
    types: tuple[str, ...]
    cameras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why an event will not be delivered: how often it was refused, and the last reason."""

    attempts: int
    reason: str


def subscribe(connection: sqlite3.Connection, outlets: Iterable[Subscription]) -> None:
    """Let exactly these outlets receive the events that follow; what others wait for stays.

    One that the last run did not have receives the start of this run too, which came before.
    """
    outlets = list(outlets)
    before = {row[0] for row in connection.execute("SELECT name FROM outlets WHERE active")}
    connection.execute("UPDATE outlets SET active = 0")
    connection.executemany(
        "INSERT INTO outlets (name, active, types, cameras) VALUES (?, 1, ?, ?) ON CONFLICT (name) "
        "DO UPDATE SET active = 1, types = excluded.types, cameras = excluded.cameras",
        [(each.name, _joined(each.types), _joined(each.cameras)) for each in outlets],
    )
    added = [(each.name,) for each in outlets if each.name not in before and "line" in each.types]
    connection.executemany(_ENQUEUE_START, added)


def waiting(
    connection: sqlite3.Connection, outlet: str, limit: int, without: Collection[int]
) -> list[Record]:
    """Return the oldest `limit` records that wait for an outlet and are not among `without`."""
    rows = connection.execute(_WAITING, (outlet, limit + len(without)))
    chosen = [row[0] for row in rows if row[0] not in without][:limit]
    if not chosen:
        return []
    store = connection.execute("SELECT value FROM meta WHERE key = 'store'").fetchone()[0]
    events = connection.execute(
        f"SELECT * FROM events WHERE seq IN ({', '.join('?' * len(chosen))}) ORDER BY seq", chosen
    )
    return [to_record(row, store) for row in events]


def settle(
    connection: sqlite3.Connection,
    outlet: str,
    delivered: Collection[int],
    dead: Mapping[int, DeadLetter],
) -> None:
    """Remove events that an outlet has acknowledged or refused for good; keep the latter."""
    row = connection.execute("SELECT id FROM outlets WHERE name = ?", (outlet,)).fetchone()
    if row is None:  # it was dropped meanwhile
        return
    number = row[0]
    connection.execute(
        "UPDATE outlets SET delivered = delivered + ? WHERE id = ?", (len(delivered), number)
    )
    connection.executemany(
        "DELETE FROM outbox WHERE outlet = ? AND seq = ?",
        [(number, seq) for seq in (*delivered, *dead)],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?, ?)",
        [(number, seq, each.attempts, each.reason, now_utc()) for seq, each in dead.items()],
    )


def note_error(connection: sqlite3.Connection, outlet: str, reason: str) -> None:
    """Keep the last reason why an outlet did not take events."""
    connection.execute(
        "UPDATE outlets SET error = ?, error_utc = ? WHERE name = ?", (reason, now_utc(), outlet)
    )


def read_outbox(folder: Path) -> list[Record]:
    """Return the state of each outlet that a folder's lines have had. Raises like `open_reading`.

    Keys: `outlet`, `active` (in the newest line), `delivered`, `waiting`, `oldest_utc` of what
    waits, `dead`, and `error` with `error_utc`, the last reason why it did not take an event.
    """
    with open_reading(folder) as connection:
        states = [dict(row) for row in connection.execute(_STATUS)]
    return [state | {"active": bool(state["active"])} for state in states]


def read_dead_letters(folder: Path, outlets: Sequence[str]) -> list[Record]:
    """Return the dead letters of outlets, oldest first, with `outlet`, `attempts`, `refused`.

    The event is under `event`. Raises like `open_reading`.
    """
    with open_reading(folder) as connection:
        store = connection.execute("SELECT value FROM meta WHERE key = 'store'").fetchone()[0]
        rows = connection.execute(
            "SELECT name, attempts, dead_letters.reason AS refused, "
            "dead_letters.time_utc AS refused_utc, events.* FROM dead_letters "
            "JOIN outlets ON outlets.id = outlet JOIN events USING (seq) "
            f"WHERE name IN ({', '.join('?' * len(outlets))}) ORDER BY outlet, seq",
            list(outlets),
        ).fetchall()
    return [
        {"outlet": row["name"], "attempts": row["attempts"], "refused": row["refused"]}
        | {"refused_utc": row["refused_utc"], "event": to_record(row, store)}
        for row in rows
    ]


def retry(folder: Path, outlets: Sequence[str], who: str) -> int:
    """Let dead letters wait again, and return how many. Raises like `change`."""
    return _change(folder, outlets, who, "retry", ("dead_letters",))


def drop(folder: Path, outlets: Sequence[str], who: str, *, waiting_too: bool = False) -> int:
    """Forget dead letters, or all that waits as well; return how many events that were.

    An outlet that the newest line did not have, and for which nothing is left, is forgotten too.
    Raises UsageError for an unknown outlet, OutletLost when the store cannot be written.
    """
    tables = ("dead_letters", "outbox") if waiting_too else ("dead_letters",)
    return _change(folder, outlets, who, "drop", tables)


def _change(
    folder: Path, outlets: Sequence[str], who: str, step: str, tables: Sequence[str]
) -> int:
    check_known(folder, outlets)
    path = folder / DATABASE
    try:
        connection = connect(path, busy_s=_BUSY_S)
        try:
            connection.execute("BEGIN IMMEDIATE")
            counts = [_change_one(connection, name, who, step, tables) for name in outlets]
            connection.execute("COMMIT")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OutletLost(f"{path}: cannot be written ({error}).") from error
    return sum(counts)


def _change_one(
    connection: sqlite3.Connection, name: str, who: str, step: str, tables: Sequence[str]
) -> int:
    if step == "retry":
        connection.execute(
            "INSERT OR IGNORE INTO outbox SELECT outlet, seq FROM dead_letters "
            f"WHERE outlet = {_ID}",
            (name,),
        )
    count = sum(
        connection.execute(f"DELETE FROM {table} WHERE outlet = {_ID}", (name,)).rowcount
        for table in tables
    )
    if count:
        insert(
            connection,
            StoreEvent(EventType.OUTBOX, step=step, source=name, who=who, count=count),
        )
    connection.execute(
        "DELETE FROM outlets WHERE name = ? AND NOT active "
        "AND id NOT IN (SELECT outlet FROM outbox UNION SELECT outlet FROM dead_letters)",
        (name,),
    )
    return count


def check_known(folder: Path, outlets: Sequence[str]) -> None:
    """Raise UsageError for an outlet that no line in a folder has had, or like `read_outbox`."""
    known = [state["outlet"] for state in read_outbox(folder)]
    for name in outlets:
        if name not in known:
            raise UsageError(
                f"{folder} has no outlet '{name}'. It has: {', '.join(known) or 'none'}."
            )


def _joined(values: Sequence[str]) -> str:
    return "".join(delimited(value) for value in values)
