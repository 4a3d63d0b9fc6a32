"""What tests write to a store, and the rows that they read from it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.wall_clock import Now

REJECT = StoreEvent(EventType.REJECT, camera="top", part=1)


def alarm(step: str, name: str = "a") -> StoreEvent:
    return StoreEvent(EventType.ALARM, step=step, kind="defect", alarm=name, camera="top")


def now() -> Now:
    return Now(time.time(), time.time())


def rows(folder: Path, columns: str = "type, step") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "line.db")) as connection:
        return connection.execute(f"SELECT {columns} FROM events ORDER BY seq").fetchall()
