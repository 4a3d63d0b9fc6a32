"""Record in a line's store, and so for its outlets, what happened to its version."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

from edge_ad.errors import EdgeAdError
from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.schema import DATABASE, connect, create


def record_bundle_event(
    output: Path, step: Literal["install", "accept", "rollback"], reason: str, who: str
) -> str:
    """Add an event to the store of a line, also while it runs; return why it could not be added.

    A line that has not run yet has no store, which is no problem.
    """
    path = output / DATABASE
    if not path.exists():
        return ""
    try:
        create(path)  # completes it, or refuses that of a newer edge-ad
        connection = connect(path, busy_s=10.0)
        try:
            connection.execute("BEGIN IMMEDIATE")
            insert(connection, StoreEvent(EventType.BUNDLE, step=step, reason=reason, who=who))
            connection.execute("COMMIT")
        finally:
            connection.close()
    except (sqlite3.Error, EdgeAdError) as error:
        return f"{path}: the event could not be added ({error})"
    return ""
