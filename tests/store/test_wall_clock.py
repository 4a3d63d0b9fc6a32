"""A clock that jumps: one event, nothing deleted for it, and the order of records kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.reading import EventFilter, Record, read_events
from edge_ad.store.retention import Retention, delete_old
from edge_ad.store.schema import connect, create
from edge_ad.store.store import Store
from edge_ad.store.wall_clock import DAY_S, WallClock, utc_text
from tests.beside import Beside

NOW = datetime(2026, 11, 28, 6, tzinfo=timezone.utc).timestamp()
YEAR = Retention(days=365)
WRONG = [datetime(year, 1, 1, tzinfo=timezone.utc).timestamp() for year in (1970, 2099)]


class Computer:
    """A computer's clock, which somebody may set, and the time that passes."""

    def __init__(self) -> None:
        self.time_s = NOW
        self.passed_s = 0.0
        self.clock = WallClock(lambda: self.time_s, lambda: self.passed_s)

    def pass_by(self, seconds: float) -> None:
        self.time_s += seconds
        self.passed_s += seconds

    def start(self, connection: sqlite3.Connection, time_s: float) -> StoreEvent | None:
        """Let the computer, and the line, start again with the clock at that time."""
        self.time_s, self.passed_s = time_s, 0.0
        self.clock = WallClock(lambda: self.time_s, lambda: self.passed_s)
        return self.clock.started(connection)


@pytest.fixture
def computer() -> Computer:
    return Computer()


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    create(tmp_path / "line.db")
    with closing(connect(tmp_path / "line.db")) as opened:
        opened.execute("PRAGMA synchronous=OFF")
        yield opened


def add(connection: sqlite3.Connection, time_s: float) -> None:
    """Record an event and a minute."""
    text = utc_text(time_s)
    insert(connection, StoreEvent(EventType.REJECT, time_utc=text))
    row = (text[:16] + "Z", "top", 1, 0, 0, 0, "{}", None, None, None)
    connection.execute(f"INSERT INTO statistics VALUES ({', '.join('?' * 10)})", row)


def left(connection: sqlite3.Connection) -> tuple[list[str], list[str]]:
    """Return the years of the events, and of the minutes, that are left."""
    events = "SELECT substr(time_utc, 1, 4) FROM events WHERE type = 'reject' ORDER BY seq"
    minutes = "SELECT substr(minute, 1, 4) FROM statistics ORDER BY rowid"
    return (
        [row[0] for row in connection.execute(events)],
        [row[0] for row in connection.execute(minutes)],
    )


def age(connection: sqlite3.Connection, computer: Computer) -> None:
    while delete_old(connection, YEAR, computer.clock.now(connection)):
        pass


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("restarted", [True, False])
def test_a_clock_that_is_wrong_for_days_deletes_nothing(
    connection: sqlite3.Connection, computer: Computer, wrong: float, *, restarted: bool
) -> None:
    computer.clock.started(connection)
    add(connection, computer.time_s)
    if restarted:
        computer.start(connection, wrong)
    else:
        computer.time_s = wrong
    for _ in range(7 * 24):  # a week without a time server
        computer.pass_by(3600)
        add(connection, computer.time_s)
        age(connection, computer)
    computer.time_s = NOW + 8 * DAY_S
    add(connection, computer.time_s)
    for _ in range(30 * 24):
        computer.pass_by(3600)
        age(connection, computer)
    years = ["2026", *[utc_text(wrong)[:4]] * 168, "2026"]
    assert left(connection) == (years, years)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_was_recorded_meanwhile_ages_with_what_is_around_it(
    connection: sqlite3.Connection, computer: Computer, wrong: float
) -> None:
    computer.clock.started(connection)
    for time_s in (computer.time_s, wrong, wrong + 60, computer.time_s + 120):
        add(connection, time_s)
    for _ in range(370):
        computer.pass_by(DAY_S)
        age(connection, computer)
    add(connection, computer.time_s)
    age(connection, computer)
    assert left(connection) == (["2027"], ["2027"])


def test_a_line_that_stood_still_catches_up(
    connection: sqlite3.Connection, computer: Computer
) -> None:
    computer.clock.started(connection)
    add(connection, computer.time_s)
    event = computer.start(connection, NOW + 400 * DAY_S)
    assert event is not None and event.step == "forward"
    assert event.reason.startswith("the clock lies 400 days after the last record (2026-11-28T06")
    age(connection, computer)
    assert left(connection)[0] == ["2026"]
    for _ in range(366):
        computer.pass_by(DAY_S)
        age(connection, computer)
    assert left(connection) == ([], [])


@pytest.mark.parametrize(
    ("jump_s", "words"),
    [
        (-3600 * 3, "the clock lies 3 h before the last record"),
        (-90, "the clock lies 90 s before the last record"),
        (-30, ""),
        (0, ""),
        (20 * DAY_S, ""),
        (100 * DAY_S, "the clock lies 100 days after the last record"),
    ],
)
def test_a_start_far_from_the_last_record_is_an_event_once(
    connection: sqlite3.Connection, computer: Computer, jump_s: float, words: str
) -> None:
    computer.clock.started(connection)
    event = computer.start(connection, NOW + jump_s)
    assert (event.reason if event else "").startswith(words) and bool(event) == bool(words)
    assert computer.start(connection, NOW + jump_s) is None


def test_a_clock_that_is_set_while_the_line_runs_is_an_event(computer: Computer) -> None:
    computer.pass_by(1e6)
    assert computer.clock.jumped() is None
    for jump_s, words in ((3600.0, "forward by 60 min"), (-7200.0, "back by 2 h")):
        computer.time_s += jump_s
        event = computer.clock.jumped()
        assert event is not None and event.reason == f"the clock was set {words}"
        assert computer.clock.jumped() is None


def test_a_store_records_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    computer = Computer()
    monkeypatch.setattr("edge_ad.store.store.WallClock", lambda: computer.clock)
    monkeypatch.setattr("edge_ad.store.store._LOOK_EVERY_S", -1.0)
    later = "2100-01-01T00:00:00.000+00:00"
    with Store(tmp_path) as store:
        computer.time_s += 3600
        store.record(StoreEvent(EventType.LINE, step="stop", time_utc=later))
    Store(tmp_path).close()
    events: list[Record] = list(read_events(tmp_path, EventFilter(types=("clock",))))
    assert [event["step"] for event in events] == ["forward", "back"]
    assert caplog.text.count("the clock") == 2


class Slow(float):
    """A time that calls `seam` when it is compared with another one."""

    seam: Callable[[], object] = staticmethod(lambda: None)

    def __sub__(self, other: float) -> Slow:
        if isinstance(other, Slow):
            self.seam()
        return Slow(float(self) - other)


def test_a_jump_that_two_threads_notice_is_one_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jump_s = 0.0
    clock = WallClock(lambda: Slow(NOW + jump_s), lambda: 0.0)
    monkeypatch.setattr("edge_ad.store.store.WallClock", lambda: clock)
    monkeypatch.setattr("edge_ad.store.store._LOOK_EVERY_S", -1.0)
    with Store(tmp_path) as store:
        jump_s = 3600.0
        second = Beside(lambda: store.record(StoreEvent(EventType.REJECT)))
        monkeypatch.setattr(Slow, "seam", staticmethod(second))
        store.record(StoreEvent(EventType.REJECT))
        second.result()
    assert len(list(read_events(tmp_path, EventFilter(types=("clock",))))) == 1
