"""Keep what a person has set while the line ran, over its restarts."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_ad.setting import Setting, SettingChange, as_json
from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.schema import connect

KeptSettings = dict[tuple[str, Setting], "KeptSetting"]  # by camera


@dataclass(frozen=True, slots=True)
class KeptSetting:
    """A value that a person has set, and the values `before` it, oldest first.

    `configured` is what the configuration said at that time, with all that the value depends on;
    when it says something else later, that is the newer decision.
    """

    value: Any
    configured: Any
    before: tuple[Any, ...]
    who: str
    reason: str
    time_utc: str


def setting_event(change: SettingChange) -> StoreEvent:
    """Return the event of a change."""
    return StoreEvent(
        EventType.SETTING,
        step=change.step.value,
        kind=change.setting.value,
        camera=change.camera,
        time_utc=change.time_utc,
        reason=change.reason,
        who=change.who,
        old=as_json(change.old),
        new=as_json(change.new),
    )


def keep(connection: sqlite3.Connection, change: SettingChange, kept: KeptSetting | None) -> None:
    """Record a change and keep its value; None forgets it, since the configuration has it.

    Meant as a job for the store's writer: both happen, or neither.
    """
    insert(connection, setting_event(change))
    key = (change.camera, change.setting.value)
    if kept is None:
        connection.execute("DELETE FROM settings WHERE camera = ? AND name = ?", key)
    else:
        values = (*key, as_json(asdict(kept)))
        connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", values)


def read_kept(path: Path) -> KeptSettings:
    """Return everything kept in a store. Raises sqlite3.Error."""
    connection = connect(path)
    try:
        rows = connection.execute("SELECT camera, name, kept FROM settings").fetchall()
    finally:
        connection.close()
    return {(row["camera"], Setting(row["name"])): _kept(json.loads(row["kept"])) for row in rows}


def _kept(values: dict[str, Any]) -> KeptSetting:
    return KeptSetting(**{**values, "before": tuple(values["before"])})
