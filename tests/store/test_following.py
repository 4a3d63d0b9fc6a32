"""Following a store's events, also when another store takes its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_ad.store import reading
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.reading import EventFilter, follow_events
from edge_ad.store.store import Store


def record(folder: Path, *reasons: str) -> None:
    folder.mkdir(exist_ok=True)
    store = Store(folder)
    for reason in reasons:
        store.record(StoreEvent(EventType.DRIFT, reason=reason))
    store.close()


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return the reasons of `count` events; each of `steps` is done while a pause would be."""

    def follow(folder: Path, count: int, *steps: Callable[[], object], limit: int = 9) -> list[str]:
        ahead = iter(steps)
        pause = SimpleNamespace(sleep=lambda _: next(ahead)())
        monkeypatch.setattr(reading, "time", pause)
        events = follow_events(folder, EventFilter(types=("drift",), limit=limit))
        return [next(events)["reason"] for _ in range(count)]

    return follow


def test_new_events_follow_those_that_are_there(
    tmp_path: Path, follow: Callable[..., list[str]]
) -> None:
    record(tmp_path, "one", "two")
    more = [lambda: record(tmp_path, "three"), lambda: record(tmp_path, "four", "five")]
    assert follow(tmp_path, 4, *more, limit=1) == ["two", "three", "four", "five"]


def test_the_next_store_is_followed_from_its_beginning(
    tmp_path: Path, follow: Callable[..., list[str]]
) -> None:
    folder = tmp_path / "line"
    record(folder, "one", "two", "three")

    def replace() -> None:
        folder.rename(tmp_path / "last week")
        record(folder, "four", "five")

    assert follow(folder, 5, replace) == ["one", "two", "three", "four", "five"]


def test_a_store_that_is_moved_away_is_waited_for(
    tmp_path: Path, follow: Callable[..., list[str]]
) -> None:
    folder = tmp_path / "line"
    record(folder, "one")
    steps = [
        lambda: folder.rename(tmp_path / "last week"),
        folder.mkdir,
        (folder / "line.db").touch,  # a line begins
        lambda: record(folder, "two"),
    ]
    assert follow(folder, 2, *steps) == ["one", "two"]
