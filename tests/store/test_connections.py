"""Connections that cannot be used are closed."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_ad.errors import EdgeAdError
from edge_ad.store import schema


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Return the connections that are opened from now on."""
    connections: list[sqlite3.Connection] = []
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def noted(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connections.append(connect(*arguments, **options))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", noted)
    return connections


def is_open(connection: sqlite3.Connection) -> bool:
    try:
        connection.cursor()
    except sqlite3.ProgrammingError:
        return False
    return True


def write_damaged(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)


def write_foreign(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (a)")


def write_newer(path: Path) -> None:
    schema.create(path)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version={schema.VERSION + 1}")


@pytest.mark.parametrize("write", [Path.touch, write_damaged, write_foreign, write_newer])
@pytest.mark.parametrize("function", [schema.connect_reading, schema.create, schema.connect])
def test_nothing_stays_open_behind_a_refusal(
    write: Callable[[Path], None],
    function: Callable[[Path], sqlite3.Connection | None],
    tmp_path: Path,
    opened: list[sqlite3.Connection],
) -> None:
    path = tmp_path / schema.DATABASE
    write(path)
    opened.clear()
    kept = None
    with contextlib.suppress(EdgeAdError, sqlite3.Error):
        kept = function(path)
    assert opened
    assert not [left for left in opened if left is not kept and is_open(left)]
    if kept is not None:
        kept.close()


def test_a_database_that_disappears_leaves_nothing_open(
    tmp_path: Path, opened: list[sqlite3.Connection]
) -> None:
    for function in (schema.connect_reading, schema.connect):
        with pytest.raises(sqlite3.OperationalError):
            function(tmp_path / schema.DATABASE)
    assert not any(map(is_open, opened))
