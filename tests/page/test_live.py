"""The live view shows what a line does, in words, and what to do about its faults."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge_ad.control.client import LineLink
from edge_ad.page import feed, snapshot
from edge_ad.page.live import live_values
from edge_ad.page.snapshot import HourCounts, Snapshot, StoreHour, look, read_hour
from edge_ad.page.texts import read_texts
from edge_ad.store.schema import DATABASE
from tests.control.lines import RunningLine, wait_for
from tests.page.served import ServedPage, Tab, make_store, served

EN, DE = read_texts("en"), read_texts("de")
HOUR = StoreHour(
    "2026-11-28T12:00Z",
    {"top": {"2026-11-28T12:28Z": HourCounts(95, 5, 1), "2026-11-28T12:29Z": HourCounts(5)}},
)


def camera(**changes: Any) -> dict[str, Any]:
    latest = {
        "part": 7,
        "time_utc": "2026-11-28T12:30:00.000+00:00",
        "verdict": "REJECT",
        "score": 1.15,
        "threshold": 0.5,
        "regions": [{"x": 1, "y": 2, "width": 3, "height": 4}],
        "size_wh": [64, 48],
    }
    under_way = {"2026-11-28T12:30Z": {"PASS": 3, "REJECT": 1, "INVALID": 0}}
    plain = {"camera": "top", "state": "judging", "alarms": [], "set_by_hand": []}
    return {**plain, "latest": latest, "under_way": under_way, **changes}


def line(*cameras: dict[str, Any], problem: str = "", **faults: int) -> dict[str, Any]:
    store = {"lost": 0, "problem": problem}
    return {"cameras": list(cameras), "store": store, "outlet_faults": faults}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLine]:
    with RunningLine(tmp_path_factory.mktemp("live"), "top", "side") as running:
        yield running


@pytest.fixture(scope="module")
def page(running: RunningLine) -> Iterator[ServedPage]:
    with served(running.folder) as page:
        yield page


def test_a_verdict_is_its_word_and_its_score_in_times_the_threshold() -> None:
    (tile,) = live_values(Snapshot(line(camera()), HOUR), EN)["cameras"]
    assert (tile["verdict"], tile["verdict_text"]) == ("REJECT", "REJECT")
    assert tile["score_text"] == "2.3 times the threshold (score 1.15)"
    assert tile["level"] == 1.0 and tile["regions"] == [[1, 2, 3, 4]]
    (german,) = live_values(Snapshot(line(camera()), HOUR), DE)["cameras"]
    assert german["verdict_text"] == "AUSSCHUSS"
    assert german["score_text"] == "2,3-mal die Schwelle (Wert 1,15)"


def test_the_hours_counts_have_the_minute_under_way() -> None:
    (tile,) = live_values(Snapshot(line(camera()), HOUR), EN)["cameras"]
    assert tile["counts"] == "110 parts this hour, 6 rejected (5.5\u202f%)"
    assert tile["invalid"] == "1 not judged"
    # a minute that the store has too counts once, and one before the hour does not count
    known = {"2026-11-28T12:29Z": {"PASS": 5, "REJECT": 0, "INVALID": 0}}
    old = {"2026-11-28T11:00Z": {"PASS": 3, "REJECT": 1, "INVALID": 0}}
    (tile,) = live_values(Snapshot(line(camera(under_way=known | old)), HOUR), EN)["cameras"]
    assert tile["counts"] == "106 parts this hour, 5 rejected (4.76\u202f%)"


@pytest.mark.parametrize(
    ("kind", "reason", "advice"),
    [
        ("camera_fault", "black: no pixel is brighter", "Take the cap off"),
        ("camera_fault", "too small: 4x4 pixels", "The image is too small"),
        ("camera_fault", "lost: no frame", "Check power and cable"),
        ("camera_fault", "something new", "Look at the camera"),
        ("defect", "", "Look at the part"),
        ("reject_rate", "9 of 10 parts", "Too many parts are rejected"),
        ("kind of tomorrow", "", ""),
    ],
)
def test_a_fault_says_what_to_do(kind: str, reason: str, advice: str) -> None:
    alarm = {"id": "a", "kind": kind, "reason": reason}
    (tile,) = live_values(Snapshot(line(camera(alarms=[alarm])), HOUR), EN)["cameras"]
    assert advice in tile["faults"][0]["advice"]


def test_a_threshold_of_zero_or_below_has_no_scale() -> None:
    latest = camera()["latest"] | {"threshold": -1.0, "score": -0.5}
    (tile,) = live_values(Snapshot(line(camera(latest=latest)), HOUR), EN)["cameras"]
    assert tile["level"] is None and tile["score_text"] == "Score -0.5, threshold -1"


def test_a_line_that_stopped_or_hangs_says_so_and_shows_no_verdict() -> None:
    stopped = live_values(Snapshot(None, HOUR), EN)
    assert stopped["problems"][0]["kind"] == "The line does not run."
    assert stopped["cameras"][0]["verdict"] == "NONE"
    assert "106 parts" in stopped["cameras"][0]["counts"]
    hangs = live_values(Snapshot(None, HOUR, hangs=True), EN)
    assert hangs["problems"][0]["kind"] == "The line does not answer."


def test_troubles_of_the_line_are_listed() -> None:
    hour = StoreHour("", {}, (("mqtt hall", "no route", 12),), problem="")
    snapshot = Snapshot(line(problem="the disk is full", pipe=3), hour)
    reasons = [problem["reason"] for problem in live_values(snapshot, EN)["problems"]]
    assert reasons == [
        "the disk is full",
        "pipe (3 records lost)",
        "mqtt hall: no route (12 events wait)",
    ]


def test_a_paused_camera_shows_no_verdict() -> None:
    (tile,) = live_values(Snapshot(line(camera(state="paused")), HOUR), EN)["cameras"]
    assert (tile["verdict"], tile["verdict_text"]) == ("NONE", "Paused")


def test_the_first_answer_has_everything_but_frames(page: ServedPage, running: RunningLine) -> None:
    running.judge("top", "R.")
    text = page.get("/").text
    assert text.count("<article") == 2
    assert "2 parts this hour, 1 rejected (50\u202f%)" in text and 'data-verdict="PASS"' in text


def test_a_cameras_name_is_text_and_never_markup(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    with RunningLine(tmp_path, name) as running, served(tmp_path) as page:
        running.judge(name, ".")
        text = page.get("/").text
    assert "<script>alert" not in text and "<img" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&gt;&lt;img src=x" in text


def test_a_tab_gets_the_latest_part_of_each_camera_and_its_frame(
    page: ServedPage, running: RunningLine
) -> None:
    with Tab(page) as tab:
        tab.next()  # the line keeps frames from now on
        running.judge("top", "R")
        running.judge("top", "R")
        newest = running.memory.inspections[-1].part
        while (now := tab.next())["cameras"][0]["part"] != newest or not tab.frames:
            pass
        assert now["cameras"][0]["verdict"] == "REJECT"
        assert tab.frames["top"][:2] == b"\xff\xd8"
        assert tab.next()["cameras"][0]["bytes"] == 0  # the same frame does not come again


def test_without_a_tab_nothing_is_asked(page: ServedPage, running: RunningLine) -> None:
    wait_for(lambda: control_clients() == 0)  # those of tabs before
    with Tab(page) as tab:
        tab.next()
        assert control_clients() == 1
    wait_for(lambda: control_clients() == 0)


def control_clients() -> int:
    """Return how many connections to the line's control socket are open in this process."""
    return sum(thread.name == "control client" for thread in threading.enumerate())


def test_the_hours_counts_never_go_back(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top", "side", "lid") as running:
        for name in ("top", "side", "lid"):  # the first part of each hands all minutes over
            running.judge(name, "R.")
            link = LineLink(tmp_path)
            shown = look(link, StoreHour())  # a store that was read before
            link.close()
            tile = live_values(shown, EN)["cameras"][0]
            assert tile["counts"] == "2 parts this hour, 1 rejected (50\u202f%)"


def test_a_look_that_fails_is_not_the_last(
    page: ServedPage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Event()

    def fail_at_first(*asked: Any) -> Snapshot:
        if not failed.is_set():
            failed.set()
            raise ValueError("odd")
        return look(*asked)

    monkeypatch.setattr(feed, "look", fail_at_first)
    monkeypatch.setattr(feed, "_STATUS_S", 0.01)
    with Tab(page) as tab:
        assert tab.next()["running"]
    assert failed.is_set() and "the live view cannot be read" in caplog.text


def test_a_tab_that_says_something_else_is_closed(page: ServedPage) -> None:
    with Tab(page) as tab:
        tab.say("more!")
        assert tab.is_closed()


def test_the_end_of_the_line_reaches_tabs(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top") as running, served(tmp_path) as page, Tab(page) as tab:
        running.judge("top", ".")
        assert tab.next()["running"]
        running.__exit__()
        while tab.next()["running"]:
            pass
        assert "does not run" in page.get("/").text


def test_a_locked_store_does_not_hold_up_the_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_store(tmp_path)
    with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("CREATE TABLE other (value)")
        monkeypatch.setattr(snapshot, "_BUSY_S", 0.01)
        assert "database is locked" in read_hour(folder).problem
