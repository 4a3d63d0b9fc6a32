"""A scripted other side of an outlet, and what a store says about it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from edge_ad.errors import Refused
from edge_ad.outlet.durable import DurableOutlet, Record
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.outbox import read_outbox
from edge_ad.store.reading import EventFilter, read_events
from edge_ad.store.store import Store


class Peer(DurableOutlet):
    """An outlet whose other side does what a test says."""

    def __init__(self, name: str = "peer") -> None:
        self.identity = name
        self.types = ("reject",)
        self.received: list[int] = []
        self.unreachable = False
        self.refuses: Callable[[int], bool] = lambda part: False
        self.on_delivery: Callable[[Record], object] = lambda record: None
        self.tries = 0
        self.closed = threading.Event()

    def deliver(self, record: Record) -> None:
        self.tries += 1
        self.on_delivery(record)
        if self.unreachable:
            raise ConnectionRefusedError("nobody there")
        if self.refuses(record.get("part", 0)):
            raise Refused(f"no part {record['part']}")
        self.received.append(record.get("part", 0))

    def close(self) -> None:
        self.closed.set()


def rejects(store: Store, parts: range) -> None:
    for part in parts:
        store.record(StoreEvent(EventType.REJECT, camera="top", part=part))


def state(folder: Path, name: str = "peer") -> Record:
    states = [each for each in read_outbox(folder) if each["outlet"] == name]
    return states[0] if states else {"waiting": None, "dead": None, "error": None}


def events(folder: Path, *types: str) -> list[Record]:
    return list(read_events(folder, EventFilter(types=types)))
