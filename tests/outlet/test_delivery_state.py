"""Pauses between tries, and what is settled until the store has saved it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edge_ad.outlet.delivery_state import Pauses, Settled


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pauses]:
    monkeypatch.undo()  # the real ones
    yield Pauses(vary=lambda: 1.0)


def test_pauses_double_up_to_a_limit(pauses: Pauses) -> None:
    assert [pauses.next_s() for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    pauses.reset()
    assert pauses.next_s() == 0.5


def test_pauses_vary_by_a_half(pauses: Pauses) -> None:
    pauses.vary = lambda: 0.0
    assert [pauses.next_s() for _ in range(3)] == [0.25, 0.5, 1.0]


class Writer:
    """Stands in for a store whose writer has not come to what it was given, or is full."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.full = False

    def put(self, job: Any, records: int) -> bool:
        if not self.full:
            self.jobs.append(job)
        return not self.full


def test_what_is_settled_is_saved_once_until_it_is_committed() -> None:
    writer: Any = Writer()
    settled = Settled("peer", writer)
    settled.add(1)
    for _ in range(3):
        settled.save()
    assert len(writer.jobs) == 1, "a second one would count the delivery twice"


def test_what_a_full_store_did_not_take_is_saved_later() -> None:
    writer: Any = Writer()
    writer.full = True
    settled = Settled("peer", writer)
    settled.add(1)
    settled.save()
    writer.full = False
    settled.save()
    assert len(writer.jobs) == 1 and settled.unsaved == {1}
