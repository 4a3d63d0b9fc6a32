"""The summary of a shift: its counts, its slowest minute and the bars of its chart."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edge_ad.clock import as_utc
from edge_ad.store.shift import Shift, summarise_shift
from tests.store.weeks import DAY, at, writing

SLOW, QUICK = ({"p50": 5.0, "p99": p99, "max": 90.0} for p99 in (40.0, 12.0))


def summary(folder: Path, until: str) -> Shift:
    """Write four minutes of two cameras, and summarise the hours from 6 o'clock."""
    with writing(folder) as line:
        line.minute("05:59", [0.9] * 99)
        line.minute("06:00", [0.1] * 9 + [0.9], latency_ms=json.dumps(SLOW), invalid=2)
        line.minute("06:01", [0.1] * 5, "side", dropped=3)
        line.minute("06:04", [0.9] * 4, latency_ms=json.dumps(QUICK))
        line.minute("06:05", [0.1] * 6 + [0.9] * 2)
        line.minute("14:01", [0.9] * 99)
    return summarise_shift(folder, at("06:00"), at(until))


def test_each_camera_has_its_counts_and_its_slowest_minute(tmp_path: Path) -> None:
    cameras = summary(tmp_path, "14:00").cameras
    top, side = cameras["top"], cameras["side"]
    assert (top.passed, top.rejected, top.invalid, top.dropped) == (15, 7, 2, 0)
    assert (top.judged, top.p99_ms) == (22, 40.0)
    assert (side.passed, side.rejected, side.dropped, side.p99_ms) == (5, 0, 3, None)


def test_a_minute_counts_in_the_shift_that_it_begins_in(tmp_path: Path) -> None:
    with writing(tmp_path) as line:
        line.minute("13:59", [0.1])
        line.minute("14:00", [0.1] * 10)
    begin, change, change_later = at("06:00"), at("14:00"), f"{DAY}T14:00:00.001+00:00"
    until = (change, change_later, at("14:01"))
    early = [summarise_shift(tmp_path, begin, end).cameras["top"].passed for end in until]
    late = summarise_shift(tmp_path, change, at("22:00")).cameras["top"].passed
    assert (early, late) == ([1, 11, 11], 10)


@pytest.mark.parametrize(
    ("until", "minutes", "bars"),
    [
        ("06:48", 1, {"06:00": (10, 1), "06:01": (5, 0), "06:04": (4, 4), "06:05": (8, 2)}),
        ("06:49", 2, {"06:00": (15, 1), "06:04": (12, 6)}),
        ("10:00", 5, {"06:00": (19, 5), "06:05": (8, 2)}),
        ("14:00", 10, {"06:00": (27, 7)}),
    ],
)
def test_bars_add_up_the_parts_of_all_cameras(
    tmp_path: Path, until: str, minutes: int, bars: dict[str, tuple[int, int]]
) -> None:
    shift = summary(tmp_path, until)
    assert shift.bar_minutes == minutes
    begins = {as_utc(datetime.fromtimestamp(start * 60, timezone.utc)) for start in shift.bars}
    assert begins == {f"{DAY}T{clock}:00.000+00:00" for clock in bars}
    assert list(shift.bars.values()) == list(bars.values())
