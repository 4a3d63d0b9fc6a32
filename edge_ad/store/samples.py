"""The list of images kept for training, within a limit on their bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from edge_ad.store.reading import open_reading

KINDS = ("reject", "borderline", "random")
_INSERT = "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_MARK = (
    "(SELECT step FROM events WHERE type = 'mark' AND events.part = samples.part "
    "ORDER BY seq DESC LIMIT 1)"
)
_OLDEST = f"SELECT part, file, bytes FROM samples ORDER BY {_MARK} IS NOT NULL, part LIMIT 100"


@dataclass(frozen=True, slots=True)
class KeptSample:
    """One image kept; `file` is its path within the folder of the store."""

    part: int
    camera: str
    time_utc: str
    kind: str
    score: float
    threshold: float
    file: str
    bytes: int


def add_sample(
    connection: sqlite3.Connection, sample: KeptSample, folder: Path, limit: int
) -> None:
    """List an image, and delete the oldest beyond `limit` bytes; those somebody marked go last."""
    connection.execute(_INSERT, astuple(sample))
    (total,) = connection.execute("SELECT sum(bytes) FROM samples").fetchone()
    if total <= limit:
        return
    for part, file, size in connection.execute(_OLDEST).fetchall():
        if total <= limit:
            return
        (folder / file).unlink(missing_ok=True)
        connection.execute("DELETE FROM samples WHERE part = ?", (part,))
        total -= size


def read_samples(
    folder: Path, kinds: Sequence[str] = (), *, marked: bool = False
) -> list[dict[str, Any]]:
    """Return the images kept, oldest first, each with `marked`: false-alarm, real or None.

    `kinds` limits them to those of `KINDS`, `marked` to what somebody marked. Raises like
    `open_reading`.
    """
    with open_reading(folder) as connection:
        tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'samples'")
        if tables.fetchone() is None:
            return []
        rows = connection.execute(f"SELECT *, {_MARK} AS marked FROM samples ORDER BY part")
        samples = [dict(row) for row in rows]
    return [
        sample
        for sample in samples
        if (not kinds or sample["kind"] in kinds) and (sample["marked"] or not marked)
    ]
