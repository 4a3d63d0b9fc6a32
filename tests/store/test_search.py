"""Searches for events: each filter, pages, neighbours, and a store from before there were any."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from edge_ad.event import AlarmKind
from edge_ad.store.cameras import known_cameras, write_cameras
from edge_ad.store.notes import acknowledge, mark
from edge_ad.store.reading import EventFilter
from edge_ad.store.search import (
    EventSearch,
    find_by_numbers,
    find_event,
    find_events,
)
from edge_ad.store.store import Store
from tests.store.weeks import at, writing
from tests.timing import LIMIT_S


def seqs(folder: Path, search: EventSearch, **page: int) -> list[int]:
    return [event["seq"] for event in find_events(folder, search, **page).events]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a line with rejects 1 to 4, an alarm in steps 5 to 7 and a camera fault 8."""
    with writing(tmp_path / "line") as line:
        line.reject("06:00", camera="top", area_px=10)
        line.reject("06:01", camera="side", area_px=500)
        line.reject("06:02", camera="top", area_px=90)
        line.reject("06:03", camera="side", area_px=20)
        for step in ("new", "update", "end"):
            line.alarm("06:04", step, part=3, peak_part=3)
        line.alarm("06:05", name="a-2", kind=AlarmKind.CAMERA_FAULT, score=float("nan"), part=9)
    return tmp_path / "line"


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        (EventSearch(), [8, 5, 4, 3, 2, 1]),  # an alarm once
        (EventSearch(EventFilter(cameras=("side",))), [4, 2]),
        (EventSearch(EventFilter(types=("reject",))), [4, 3, 2, 1]),
        (EventSearch(EventFilter(types=("defect", "camera_fault"))), [8, 5]),
        (EventSearch(EventFilter(since=at("06:01"), until=at("06:03"))), [3, 2]),
        (EventSearch(min_area_px=90), [3, 2]),
        (EventSearch(part=3), [5, 3]),
        (EventSearch(EventFilter(("top",), ("reject",)), min_area_px=50), [3]),
        (EventSearch(part=77), []),
    ],
)
def test_each_filter_and_all_together_choose_events(
    folder: Path, search: EventSearch, expected: list[int]
) -> None:
    page = find_events(folder, search)
    assert [event["seq"] for event in page.events] == expected
    assert page.count == len(expected) and not page.newer and not page.older


def test_what_people_said_last_decides(folder: Path) -> None:
    mark(folder, ["1", "2"], "false-alarm", "ann")
    mark(folder, ["2"], "real", "bob")
    mark(folder, ["a-1"], "real", "bob")
    acknowledge(folder, ["4"], "ann")
    listed = EventFilter(types=("reject", "defect", "camera_fault"))
    by_note = {
        noted: seqs(folder, EventSearch(listed, noted))
        for noted in ("false-alarm", "real", "unmarked", "unseen")
    }
    assert by_note == {
        "false-alarm": [1],
        "real": [5, 2],
        "unmarked": [8, 4, 3],
        "unseen": [8, 5, 3, 2, 1],
    }


def test_pages_hold_every_event_once_in_both_directions(folder: Path) -> None:
    first = find_events(folder, EventSearch(), limit=4)
    assert (first.newer, first.older) == (False, True)
    second = find_events(folder, EventSearch(), before=first.events[-1]["seq"], limit=4)
    assert (second.newer, second.older) == (True, False)
    assert [event["seq"] for event in first.events + second.events] == [8, 5, 4, 3, 2, 1]
    back = find_events(folder, EventSearch(), after=second.events[0]["seq"], limit=4)
    assert back == first
    oldest = find_events(folder, EventSearch(), after=0, limit=4)
    assert (oldest.newer, oldest.older) == (True, False)
    assert find_events(folder, EventSearch(), after=8, limit=4).events == []


def test_one_event_has_its_neighbours_its_notes_and_the_steps_of_its_alarm(folder: Path) -> None:
    mark(folder, ["a-1"], "false-alarm", "ann", "dust")
    rejects = EventSearch(EventFilter(types=("reject",)))
    view = find_event(folder, 3, rejects)
    assert view is not None and view.earlier is not None and view.later is not None
    assert (view.earlier["seq"], view.later["seq"]) == (2, 4)
    alarm = find_event(folder, 7, rejects)  # by its last step
    assert alarm is not None and alarm.event["seq"] == 5 and not alarm.is_open
    assert [step["step"] for step in alarm.steps] == ["new", "update", "end"]
    assert [(note["step"], note["reason"]) for note in alarm.notes] == [("false-alarm", "dust")]
    fault = find_event(folder, 8, EventSearch())
    assert fault is not None and fault.is_open and fault.later is not None  # the mark
    assert find_event(folder, 1 << 60, EventSearch()) is None


def test_events_are_found_by_number(folder: Path) -> None:
    assert [event["seq"] for event in find_by_numbers(folder, [3, 1, 999])] == [1, 3]
    assert known_cameras(folder) == ["side", "top"]


def test_a_camera_of_the_line_is_known_before_its_first_record(folder: Path) -> None:
    with Store(folder) as store:
        assert store.put_and_wait(partial(write_cameras, names=["top", "new"]), LIMIT_S)
    assert known_cameras(folder) == ["new", "side", "top"]
