"""What an outbox keeps, for how long, and who may drop it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from edge_ad.errors import OutletLost
from edge_ad.outlet.delivery import Deliveries
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.outbox import (
    DeadLetter,
    Subscription,
    drop,
    read_dead_letters,
    read_outbox,
    settle,
    subscribe,
)
from edge_ad.store.retention import Retention, delete_old
from edge_ad.store.schema import connect
from edge_ad.store.store import Store
from tests.outlet.peer import Peer, events, rejects, state
from tests.store.rows import now


def leave_waiting(folder: Path, count: int) -> None:
    """Let a line end with so many rejects that wait for an outlet out of reach."""
    peer = Peer()
    peer.unreachable = True
    with Store(folder) as store:
        Deliveries(store, [peer], ())
        rejects(store, range(count))


def test_retention_deletes_delivered_events_first(tmp_path: Path) -> None:
    peer = Peer()
    peer.unreachable = True
    with Store(tmp_path) as store:
        rejects(store, range(100, 120))  # nobody waits for these
        Deliveries(store, [peer], ())
        rejects(store, range(20))
    with closing(connect(tmp_path / "line.db")) as connection:
        delete_old(connection, Retention(days=1e-9, count=1_000), now())
    assert [event["part"] for event in events(tmp_path, "reject")] == list(range(20))
    assert state(tmp_path)["waiting"] == 20


def test_beyond_its_cap_the_oldest_waiting_events_are_given_up_and_counted(tmp_path: Path) -> None:
    leave_waiting(tmp_path, 30)
    with closing(connect(tmp_path / "line.db")) as connection:
        delete_old(connection, Retention(count=40), now())
    (given_up,) = events(tmp_path, "outbox")
    assert (given_up["count"], given_up["source"]) == (10, "peer")
    assert given_up["reason"] == "never delivered to peer: more than 20"
    assert state(tmp_path)["waiting"] == 20


def test_beyond_their_cap_the_oldest_dead_letters_are_given_up_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.store.retention.DEAD_LETTERS", 4)
    leave_waiting(tmp_path, 10)
    with closing(connect(tmp_path / "line.db")) as connection:
        waiting = [row[0] for row in connection.execute("SELECT seq FROM outbox ORDER BY seq")]
        settle(connection, "peer", [], {seq: DeadLetter(5, "refused") for seq in waiting[:7]})
        delete_old(connection, Retention(), now())
    (given_up,) = events(tmp_path, "outbox")
    assert (given_up["step"], given_up["source"], given_up["count"]) == ("drop", "peer", 3)
    assert given_up["reason"] == "never delivered to peer: more than 4"
    assert [each["event"]["part"] for each in read_dead_letters(tmp_path, ["peer"])] == [3, 4, 5, 6]
    assert state(tmp_path)["waiting"] == 3


def test_when_only_waiting_events_are_left_they_are_given_up(tmp_path: Path) -> None:
    leave_waiting(tmp_path, 30)
    with closing(connect(tmp_path / "line.db")) as connection:
        for _ in range(5):
            delete_old(connection, Retention(size_bytes=1), now())
    assert events(tmp_path, "reject") == [] and state(tmp_path)["waiting"] == 0
    assert sum(event["count"] for event in events(tmp_path, "outbox")) <= 30


def test_an_outlet_that_is_given_up_is_forgotten(tmp_path: Path) -> None:
    peer = Peer()
    peer.unreachable = True
    with Store(tmp_path) as store:
        Deliveries(store, [peer], ())
        rejects(store, range(3))
    with Store(tmp_path) as store:
        Deliveries(store, [], ())
        rejects(store, range(2))  # the outlet is not configured: they are not for it
    assert state(tmp_path)["waiting"] == 3 and not state(tmp_path)["active"]
    assert drop(tmp_path, ["peer"], "anna", waiting_too=True) == 3
    assert read_outbox(tmp_path) == []


def test_dropped_dead_letters_do_not_wait_again(tmp_path: Path) -> None:
    leave_waiting(tmp_path, 3)
    with closing(connect(tmp_path / "line.db")) as connection:
        first = connection.execute("SELECT min(seq) FROM outbox").fetchone()[0]
        settle(connection, "peer", [], {first: DeadLetter(5, "refused")})
    assert drop(tmp_path, ["peer"], "anna") == 1
    assert (state(tmp_path)["dead"], state(tmp_path)["waiting"]) == (0, 2)
    (dropped,) = events(tmp_path, "outbox")
    assert (dropped["step"], dropped["who"], dropped["count"]) == ("drop", "anna", 1)


def test_an_outbox_that_cannot_be_written_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_waiting(tmp_path, 3)
    with closing(connect(tmp_path / "line.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("edge_ad.store.outbox._BUSY_S", 0.0)
        with pytest.raises(OutletLost, match=r"line\.db: cannot be written \(database is locked\)"):
            drop(tmp_path, ["peer"], "anna", waiting_too=True)
    assert state(tmp_path)["waiting"] == 3


def test_a_settled_event_of_a_dropped_outlet_is_no_error(tmp_path: Path) -> None:
    with Store(tmp_path):
        pass
    with closing(connect(tmp_path / "line.db")) as connection:
        settle(connection, "gone", [1], {2: DeadLetter(1, "")})


def test_an_outlet_that_is_added_receives_the_start_of_the_run(tmp_path: Path) -> None:
    def run(*outlets: str) -> None:
        taken = [Subscription(name, ("line",)) for name in outlets]
        taken.append(Subscription("rejects", ("reject",)))
        with Store(tmp_path) as store:
            store.put(lambda connection: subscribe(connection, taken), 0)

    run("a")
    assert state(tmp_path, "a")["waiting"] == 2  # start and stop
    run("a", "b")
    run("b")
    assert [state(tmp_path, name)["waiting"] for name in ("a", "b", "rejects")] == [5, 4, 0]
    run("a", "b")
    assert [state(tmp_path, name)["waiting"] for name in ("a", "b")] == [7, 6]


def test_an_outlets_own_fault_is_not_news_for_it(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.put(
            lambda connection: subscribe(
                connection, [Subscription(name, ("outlet_fault",)) for name in ("a", "b")]
            )
        )
        store.record(StoreEvent(EventType.OUTLET_FAULT, "new", source="a"))
    assert [state(tmp_path, name)["waiting"] for name in ("a", "b")] == [0, 1]
