"""Keep the tests for drift over a restart, where `edge-ad drift` reads them, too."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from edge_ad.store.reading import open_reading

_INSERT = "INSERT OR REPLACE INTO drift VALUES (?, ?, ?, ?)"


def write_drift(connection: sqlite3.Connection, row: tuple[str, str, str, dict[str, Any]]) -> None:
    """Replace the state of one camera's quantity: camera, quantity, minute, state."""
    *about, state = row
    connection.execute(_INSERT, (*about, json.dumps(state)))


def read_drift(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the states, each with its `minute`, by camera and quantity.

    Raises like `open_reading`.
    """
    with open_reading(folder) as connection:
        rows = connection.execute("SELECT * FROM drift ORDER BY camera, quantity").fetchall()
    return {
        (row["camera"], row["quantity"]): {"minute": row["minute"]} | json.loads(row["state"])
        for row in rows
    }
