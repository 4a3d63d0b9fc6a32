"""Counts and light by the minute, also when the clock is set back."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edge_ad.frame import Image
from edge_ad.frame_light import light_of
from edge_ad.inspection import Inspection, Verdict
from edge_ad.store.schema import connect
from edge_ad.store.shift import CameraShift, summarise_shift
from edge_ad.store.statistics import MinuteStatistics
from edge_ad.store.store import Store
from edge_ad.store.writer import Job
from tests.timing import LIMIT_S, FakeClock


def at(minute: str) -> Inspection:
    return Inspection(Verdict.PASS, 0.1, 0.5, camera="top", time_utc=f"2026-11-28T{minute}:30.000Z")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr("edge_ad.store.statistics.time", clock)
    return clock


def test_the_last_two_minutes_are_under_way_as_they_came() -> None:
    written: list[int] = []

    def put(job: Job, records: int) -> bool:
        written.append(records)
        return True

    statistics = MinuteStatistics(put, dict)
    count = partial(statistics.count, image=None)
    for minute in ("21:40", "21:41", "21:41", "20:42", "20:42", "20:42"):  # set back by an hour
        count(at(minute))
    assert passed(statistics) == {"2026-11-28T21:41Z": 2, "2026-11-28T20:42Z": 3}
    count(at("20:43"))
    assert passed(statistics) == {"2026-11-28T20:42Z": 3, "2026-11-28T20:43Z": 1}
    assert written == [1, 1, 1]  # of the minutes that are over


def test_a_minute_has_the_mean_light_of_one_frame_a_second(
    tmp_path: Path, clock: FakeClock
) -> None:
    with Store(tmp_path) as store:
        statistics = MinuteStatistics(store.put, dict)
        for level in (60, 200, 100):  # the second one comes within the first second
            statistics.count(at("21:40"), textured(level))
            clock.advance(0.6)
        statistics.flush()
    with closing(connect(tmp_path / "line.db")) as connection:
        (row,) = connection.execute("SELECT brightness, sharpness FROM statistics").fetchall()
    lights = [light_of(textured(level)) for level in (60, 100)]
    assert tuple(row) == pytest.approx(np.mean(lights, axis=0), abs=1e-3)


def test_a_killed_line_loses_what_it_counted_in_the_last_ten_seconds(
    tmp_path: Path, clock: FakeClock
) -> None:
    drops = {"top": 0}
    with Store(tmp_path) as store:
        statistics = MinuteStatistics(store.put, lambda: drops)
        for seconds in (1, 9.5, 10, 5, 5, 5):  # kept at the second and the fourth
            clock.advance(seconds)
            drops["top"] += 1
            statistics.count(at("21:40"), None)
            assert store.flush(LIMIT_S)
        assert counts(tmp_path) == []
        shifts = [summarise_shift(tmp_path, day(21), day(hour)) for hour in (21, 22)]
        assert [shift.cameras.get("top") for shift in shifts] == [
            None, CameraShift(passed=4, dropped=4)
        ]  # fmt: skip
        assert list(shifts[1].bars.values()) == [(4, 0)]
    for _ in range(2):  # the second start has nothing to restore
        with Store(tmp_path):
            assert counts(tmp_path) == [("top", 4, 4)]


def test_minutes_that_are_over_are_not_counted_twice(tmp_path: Path, clock: FakeClock) -> None:
    with Store(tmp_path) as store:
        statistics = MinuteStatistics(store.put, dict)
        for minute in ("21:40", "21:40", "21:41"):
            statistics.count(at(minute), None)
            clock.advance(11)
    with Store(tmp_path):
        assert counts(tmp_path) == [("top", 2, 0)]


def test_while_the_disk_is_full_the_minutes_wait_once(clock: FakeClock) -> None:
    written: list[int] = []

    def put(job: Job, records: int) -> bool:
        written.append(records)
        return True

    statistics = MinuteStatistics(put, dict)
    for _ in range(5):
        clock.advance(11)
        statistics.count(at("21:40"), None)
    assert written == [0]


def day(hour: int) -> str:
    return f"2026-11-28T{hour}:00:00.000+00:00"


def counts(folder: Path) -> list[tuple[str, int, int]]:
    with closing(connect(folder / "line.db")) as connection:
        rows = connection.execute("SELECT camera, passed, dropped FROM statistics").fetchall()
    return [tuple(row) for row in rows]


def textured(level: int) -> Image:
    """Return an image of this brightness, the sharper the brighter."""
    noise = np.random.default_rng(0).normal(1, 0.1, (64, 64, 3))
    return np.clip(level * noise, 0, 255).astype(np.uint8)


def passed(statistics: MinuteStatistics) -> dict[str, int]:
    return {minute: counts["PASS"] for minute, counts in statistics.under_way()["top"].items()}
