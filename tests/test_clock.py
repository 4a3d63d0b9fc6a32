"""Times of day."""

from __future__ import annotations

import pytest

from edge_ad.clock import as_local, local_text, parse_time

pytestmark = pytest.mark.usefixtures("german_time")


def test_local_times_follow_the_computers_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_text("2026-11-28T12:00:00.000+00:00") == "2026-11-28 13:00:00+01:00"

    monkeypatch.setenv("TZ", "Asia/Tokyo")

    assert local_text("2026-11-28T12:00:00.000+00:00") == "2026-11-28 21:00:00+09:00"


def test_a_minute_of_a_record_is_a_time_too() -> None:
    assert as_local("2026-07-01T04:10Z").strftime("%H:%M") == "06:10"


def test_a_typed_time_without_zone_is_local_in_summer_and_winter() -> None:
    assert parse_time("2026-10-24T06:00") == "2026-10-24T04:00:00.000+00:00"
    assert parse_time("2026-10-26T06:00") == "2026-10-26T05:00:00.000+00:00"


def test_an_hour_that_comes_twice_is_the_first_of_both() -> None:
    assert parse_time("2026-10-25T02:30") == "2026-10-25T00:30:00.000+00:00"
