"""Delivery from the outbox: at least once, in order, each outlet for itself, also after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_ad.outlet.delivery import Deliveries
from edge_ad.outlet.delivery_state import OutletFault, Pauses
from edge_ad.outlet.durable import DurableOutlet, Record
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.outbox import read_dead_letters, retry, waiting
from edge_ad.store.store import Store
from tests.outlet.peer import Peer, events, rejects, state
from tests.timing import wait_until


def test_events_are_delivered_in_order_with_their_ids(tmp_path: Path) -> None:
    records: list[Record] = []
    peer = Peer()
    peer.on_delivery = records.append
    with Store(tmp_path) as store:
        deliveries = Deliveries(store, [peer], ())
        rejects(store, range(50))
        assert store.flush(20)
    assert peer.received == list(range(50)) and peer.closed.is_set()
    assert records == events(tmp_path, "reject")  # the same as `edge-ad events --json`
    assert deliveries.summary() == [{"outlet": "peer", "delivered": 50, "dead": 0}]
    assert state(tmp_path)["waiting"] == 0 and state(tmp_path)["delivered"] == 50


def test_what_happened_before_an_outlet_was_first_given_is_not_sent(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        rejects(store, range(3))
    peer = Peer()
    with Store(tmp_path) as store:
        Deliveries(store, [peer], ())
        rejects(store, range(3, 5))
    assert peer.received == [3, 4]


def test_types_and_cameras_are_chosen(tmp_path: Path) -> None:
    peer = Peer()
    peer.types, peer.cameras = ("reject", "line"), ("left",)
    got: list[tuple[str, Any]] = []
    peer.on_delivery = lambda record: got.append((record["type"], record["camera"]))
    with Store(tmp_path) as store:
        Deliveries(store, [peer], ())
        for camera in ("top", "left", "leftmost"):
            store.record(StoreEvent(EventType.REJECT, camera=camera, part=1))
        store.record(StoreEvent(EventType.ALARM, step="new", alarm="a", camera="left"))
    whole = ("line", None)  # what concerns the whole line, too
    assert got == [whole, ("reject", "left"), whole]


def test_an_unreachable_peer_is_tried_without_end_and_is_one_fault(tmp_path: Path) -> None:
    peer = Peer()
    peer.unreachable = True
    with Store(tmp_path) as store:
        Deliveries(store, [peer], ())
        rejects(store, range(20))
        wait_until(lambda: peer.tries > 30)  # many more than the attempts of a refusal
        wait_until(lambda: state(tmp_path)["error"] == "nobody there")
        peer.unreachable = False
        wait_until(lambda: len(peer.received) == 20)
    assert peer.received == list(range(20))
    faults = [(event["step"], event["source"]) for event in events(tmp_path, "outlet_fault")]
    assert faults == [("new", "peer"), ("end", "peer")]
    assert read_dead_letters(tmp_path, ["peer"]) == []


def test_a_refused_event_becomes_a_dead_letter_and_the_next_follows(tmp_path: Path) -> None:
    peer = Peer()
    peer.refuses = lambda part: part % 5 == 2
    with Store(tmp_path) as store:
        Deliveries(store, [peer], ())
        rejects(store, range(10))
        wait_until(lambda: len(peer.received) == 8)
    assert peer.received == [0, 1, 3, 4, 5, 6, 8, 9] and peer.tries == 8 + 2 * peer.attempts
    letters = read_dead_letters(tmp_path, ["peer"])
    assert [(each["attempts"], each["refused"]) for each in letters] == [
        (5, "no part 2"),
        (5, "no part 7"),
    ]
    assert [event.get("count") for event in events(tmp_path, "outlet_fault")] == [None, 2]


def test_dead_letters_are_delivered_again_while_the_line_runs(tmp_path: Path) -> None:
    peer = Peer()
    peer.refuses = lambda part: part < 2
    with Store(tmp_path) as store:
        Deliveries(store, [peer], ())
        rejects(store, range(4))
        wait_until(lambda: state(tmp_path)["dead"] == 2)
        peer.refuses = lambda part: False
        assert retry(tmp_path, ["peer"], "anna") == 2
        rejects(store, range(4, 5))
        wait_until(lambda: len(peer.received) == 5)
    assert sorted(peer.received) == [0, 1, 2, 3, 4] and peer.received[:2] == [2, 3]
    noted = events(tmp_path, "outbox")
    assert [(each["step"], each["count"], each["who"]) for each in noted] == [("retry", 2, "anna")]


def test_an_outlets_own_bug_counts_as_a_refusal(tmp_path: Path) -> None:
    peer = Peer()

    def broken(part: int) -> bool:
        return bool(1 / (part - 1) < -2)  # part 1 divides by zero

    peer.refuses = broken
    with Store(tmp_path) as store:
        Deliveries(store, [peer], ())
        rejects(store, range(3))
        wait_until(lambda: len(peer.received) == 2)
    (letter,) = read_dead_letters(tmp_path, ["peer"])
    assert letter["refused"] == "ZeroDivisionError: division by zero"


def test_what_is_left_at_the_end_waits_for_the_next_start(tmp_path: Path) -> None:
    peer = Peer()
    peer.unreachable = True
    with Store(tmp_path) as store:
        Deliveries(store, [peer], ())
        rejects(store, range(10))
    assert state(tmp_path)["waiting"] == 10
    again = Peer()
    with Store(tmp_path) as store:
        Deliveries(store, [again], ())
        rejects(store, range(10, 12))
    assert again.received == list(range(12))


def test_an_outlet_delays_no_other(tmp_path: Path) -> None:
    hangs, works = Peer("hangs"), Peer("works")
    release = threading.Event()
    hangs.on_delivery = lambda record: release.wait(20)
    with Store(tmp_path) as store:
        Deliveries(store, [hangs, works], ())
        rejects(store, range(100))
        wait_until(lambda: len(works.received) == 100)
        store.closing.insert(0, release.set)
    assert works.received == list(range(100))


def test_a_delivery_that_hangs_is_left_behind_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.outlet.delivery._DRAIN_S", 0.05)
    monkeypatch.setattr("edge_ad.outlet.delivery._AFTER_CLOSE_S", 0.05)
    peer = Peer()
    begun, release = threading.Event(), threading.Event()

    def hang(record: Record) -> None:
        begun.set()
        release.wait(20)

    peer.on_delivery = hang
    with Store(tmp_path) as store:
        Deliveries(store, [peer], ())
        rejects(store, range(3))
        assert begun.wait(20)
    release.set()
    assert peer.closed.is_set() and state(tmp_path)["waiting"] == 3


class Windowed(Peer):
    """Takes up to four events at once; their acknowledgements come in order, or an outage."""

    window = 4

    def __init__(self) -> None:
        super().__init__()
        self.under_way = self.most = 0

    def send(self, record: Record) -> Callable[[], None]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)

        def wait() -> None:
            self.under_way -= 1
            self.deliver(record)

        return wait


def test_several_events_may_be_under_way_and_stay_in_order(tmp_path: Path) -> None:
    peer = Windowed()
    fails = iter([False] * 7 + [True] + [False] * 1000)

    def refuses(part: int) -> bool:
        if next(fails):
            peer.under_way = 0
            raise ConnectionResetError("gone")
        return False

    peer.refuses = refuses
    with Store(tmp_path) as store:
        rejects(store, range(1))
        Deliveries(store, [peer], ())
        rejects(store, range(30))
        wait_until(lambda: len(peer.received) == 30)
    assert peer.received == list(range(30)) and 1 < peer.most <= 4


_LINE = """
import sys, time
from pathlib import Path
from tests.outlet.peer import rejects
from tests.outlet.test_delivery import FilePeer
from edge_ad.outlet.delivery import Deliveries
from edge_ad.store.store import Store
store = Store(Path(sys.argv[1]))
Deliveries(store, [FilePeer(Path(sys.argv[2]))], ())
for part in range(10_000):
    rejects(store, range(part, part + 1))
    time.sleep(0.001)
"""


class FilePeer(DurableOutlet):
    """Writes the numbers of parts to a file that survives the process."""

    def __init__(self, path: Path) -> None:
        self.identity, self.types = "peer", ("reject",)
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def deliver(self, record: Record) -> None:
        os.write(self._handle, f"{record['part']}\n".encode())


def test_nothing_is_lost_when_the_line_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "received"
    command = [sys.executable, "-c", _LINE, str(tmp_path), str(path)]
    line = subprocess.Popen(command)
    wait_until(lambda: path.exists() and len(path.read_text().splitlines()) > 100)
    line.send_signal(signal.SIGKILL)
    line.wait()
    with Store(tmp_path) as store:
        Deliveries(store, [FilePeer(path)], ())
    parts = [int(line) for line in path.read_text().splitlines()]
    kept = [event["part"] for event in events(tmp_path, "reject")]
    first_times = list(dict.fromkeys(parts))
    assert first_times == kept == list(range(len(kept)))
    assert len(parts) - len(kept) < 1_000  # what was under way comes twice


def test_a_flapping_peer_has_one_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1000, 4))
    with Store(tmp_path) as store:
        fault = OutletFault("peer", store)
        clock = SimpleNamespace(monotonic=lambda: next(now))  # not the store's
        monkeypatch.setattr("edge_ad.outlet.delivery_state.time", clock)
        for _ in range(20):
            fault.trouble("gone", 0)
            fault.steady()
        fault.steady()
        fault.steady()
        monkeypatch.undo()
    assert [event["step"] for event in events(tmp_path, "outlet_fault")] == ["new", "end"]


def test_nothing_is_tried_during_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pauses, "next_s", lambda self: 1_000.0)
    monkeypatch.setattr("edge_ad.outlet.delivery._DRAIN_S", 0.05)
    peer = Peer()
    peer.unreachable = True
    with Store(tmp_path) as store:
        Deliveries(store, [peer], ())
        rejects(store, range(1))
        wait_until(lambda: peer.tries)
        for part in range(1, 6):
            rejects(store, range(part, part + 1))
            assert store.flush(20)
    assert peer.tries <= 3, "once before the end, once at the end, and once it is over"
    assert state(tmp_path)["waiting"] == 6


def test_memory_does_not_grow_with_the_backlog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []

    def counted(connection: Any, outlet: str, limit: int, without: frozenset[int]) -> list[Record]:
        limits.append(limit + len(without))
        return waiting(connection, outlet, limit, without)

    monkeypatch.setattr("edge_ad.outlet.delivery.waiting", counted)
    peer = Peer()
    peer.unreachable = True
    with Store(tmp_path) as store:
        Deliveries(store, [peer], ())
        rejects(store, range(3_000))
    again = Peer()
    with Store(tmp_path) as store:
        Deliveries(store, [again], ())
        wait_until(lambda: len(again.received) == 3_000)
    assert again.received == list(range(3_000)) and max(limits) <= 1_100
