"""Counts by the minute, also when the clock is set back."""

from __future__ import annotations

from functools import partial

from edge_ad.inspection import Inspection, Verdict
from edge_ad.store.statistics import MinuteStatistics


def at(minute: str) -> Inspection:
    return Inspection(Verdict.PASS, 0.1, 0.5, camera="top", time_utc=f"2026-11-28T{minute}:30.000Z")


def test_the_last_two_minutes_are_under_way_as_they_came() -> None:
    rows: list[object] = []

    def put(row: object) -> bool:
        rows.append(row)
        return True

    statistics = MinuteStatistics(put, dict)
    count = partial(statistics.count, image=None)
    for minute in ("21:40", "21:41", "21:41", "20:42", "20:42", "20:42"):  # set back by an hour
        count(at(minute))
    assert passed(statistics) == {"2026-11-28T21:41Z": 2, "2026-11-28T20:42Z": 3}
    count(at("20:43"))
    assert passed(statistics) == {"2026-11-28T20:42Z": 3, "2026-11-28T20:43Z": 1}
    assert len(rows) == 3  # of the minutes that are over


def passed(statistics: MinuteStatistics) -> dict[str, int]:
    return {minute: counts["PASS"] for minute, counts in statistics.under_way()["top"].items()}
