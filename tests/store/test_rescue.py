"""A store whose pages are torn: the line goes on, what can be read stays, numbers do not repeat."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edge_ad.errors import DataError
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.outbox import Subscription, subscribe, waiting
from edge_ad.store.reading import EventFilter, Record, read_events
from edge_ad.store.store import Store
from tests.timing import LIMIT_S

PAGE = 4096
REJECTS = 30
MINUTE = (
    "INSERT INTO statistics VALUES ('2026-11-28T06:00Z', 'top', 1, 0, 0, 0, '{}', NULL, NULL, NULL)"
)


def fill(folder: Path) -> None:
    """Write rejected parts with long reasons, a few on each page, and the image of the last one."""
    folder.mkdir()
    with Store(folder) as store:
        for _ in range(REJECTS):
            part = store.next_part()
            store.record(StoreEvent(EventType.REJECT, camera="top", part=part, reason="x" * 600))
            store.put(lambda connection: connection.execute(MINUTE))
    (folder / "evidence").mkdir()
    (folder / "evidence" / f"part-{part:08d}.jpg").touch()


def kill(folder: Path) -> None:
    """Let a store look as after a power cut: its last line was not stopped."""
    with closing(sqlite3.connect(folder / "line.db")) as connection, connection:
        connection.execute("DELETE FROM events WHERE type = 'line' AND step = 'stop'")


def events(folder: Path, *types: str) -> list[Record]:
    return list(read_events(folder, EventFilter(types=types)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole") / "line"
    fill(folder)
    kill(folder)
    return (folder / "line.db").read_bytes()


def restart(folder: Path, content: bytes) -> list[Record]:
    """Put a database into a folder, start and stop a line there, and return the rejects left."""
    folder.mkdir()
    (folder / "line.db").write_bytes(content)
    with Store(folder) as store:
        assert store.next_part() > REJECTS
    return events(folder, "reject")


def test_any_page_may_be_lost(whole: bytes, tmp_path: Path) -> None:
    pages = len(whole) // PAGE
    damaged = 0
    for number in range(1, pages):  # without the first nothing can be read
        zeroed = whole[: number * PAGE] + bytes(PAGE) + whole[(number + 1) * PAGE :]
        folder = tmp_path / f"{number}"
        rejects = restart(folder, zeroed)
        assert len(rejects) >= REJECTS - 8, f"page {number} of {pages}"
        newest = events(folder)
        numbers = [event["seq"] for event in newest]
        assert numbers == sorted(set(numbers))
        lost = [event for event in newest if event["type"] == "lost"]
        aside = list(folder.glob("line.db.damaged-*Z"))
        assert len(lost) == len(aside)
        damaged += len(aside)
        for path in aside:
            assert path.read_bytes()[: len(zeroed)] == zeroed and path.name in lost[0]["reason"]
    assert damaged > pages // 2


@pytest.mark.parametrize("cut", [PAGE, PAGE + 50, 3 * PAGE])
def test_a_file_that_was_cut_off_keeps_the_rest(whole: bytes, tmp_path: Path, cut: int) -> None:
    rejects = restart(tmp_path / "line", whole[:-cut])

    assert len(rejects) >= REJECTS - 24
    assert len(events(tmp_path / "line", "lost")) == 1


def test_a_damaged_store_is_named_as_such_until_a_line_starts(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "line.db").write_bytes(whole[:-PAGE])

    with pytest.raises(DataError, match=r"line\.db is damaged .* keeps what can be read"):
        events(tmp_path)


@pytest.mark.parametrize("content", [bytes(4 * PAGE), b""])
def test_part_numbers_go_on_where_nothing_can_be_read(tmp_path: Path, content: bytes) -> None:
    fill(tmp_path / "line")
    (tmp_path / "line" / "line.db").write_bytes(content)

    with Store(tmp_path / "line") as store:
        assert store.next_part() > REJECTS
    assert events(tmp_path / "line", "lost")


def test_only_two_damaged_databases_are_kept_the_last_one_whatever_the_clock(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    years = iter(["2026", "2099", "1970"])
    monkeypatch.setattr("edge_ad.store.rescue._moment", lambda: f"{next(years)}Z")
    for _ in range(3):
        (tmp_path / "line.db").write_bytes(whole[:-PAGE])
        Store(tmp_path).close()
    aside = sorted(path.name for path in tmp_path.glob("line.db.damaged-*"))
    assert aside == ["line.db.damaged-1970Z", "line.db.damaged-2099Z"]


def test_a_disk_without_links_keeps_a_copy(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    assert len(restart(tmp_path / "line", whole[:-PAGE])) >= REJECTS - 8
    (aside,) = (tmp_path / "line").glob("line.db.damaged-*")
    assert aside.read_bytes() == whole[:-PAGE]


def once_damaged() -> Callable[[sqlite3.Connection], None]:
    """Return a job that comes upon a torn page the first time."""
    attempts = itertools.count()

    def job(_: sqlite3.Connection) -> None:
        if next(attempts) == 0:
            raise sqlite3.DatabaseError("database disk image is malformed")

    return job


def test_damage_that_shows_while_running_loses_nothing_that_comes_later(tmp_path: Path) -> None:
    taken = Subscription("mqtt", ("reject",))
    with Store(tmp_path) as store:
        rescued: list[str] = []
        store.rescued.append(lambda: rescued.append("line.db"))
        store.put(lambda connection: subscribe(connection, [taken]), 0)
        store.record(StoreEvent(EventType.REJECT, camera="top", part=1))
        assert store.flush(LIMIT_S)
        store.put(once_damaged(), 0)
        store.record(StoreEvent(EventType.REJECT, camera="top", part=2))
        assert store.flush(LIMIT_S)
        assert rescued == ["line.db"] and store.lost == 0 and not store.problem
        with closing(sqlite3.connect(tmp_path / "line.db")) as connection:
            connection.row_factory = sqlite3.Row
            parts = [record["part"] for record in waiting(connection, "mqtt", 10, ())]
    assert parts == [1, 2]
    assert [event["type"] for event in events(tmp_path)] == [
        *("line", "reject", "lost", "reject", "line")
    ]
