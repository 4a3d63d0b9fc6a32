"""Pulses of a rejector: a table of what it does, in tenths of a second."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_ad.outlet.pulses import PulseSchedule


def drawn(schedule: PulseSchedule, tenths: int) -> str:
    """Return a letter for each tenth of a second: # active, . not."""
    return "".join(".#"[schedule.active(at / 10 + 1e-6)] for at in range(tenths))


@pytest.mark.parametrize(
    ("delay", "parts", "expected"),
    [
        pytest.param(0, [], "............", id="nothing rejected"),
        pytest.param(0, [2], "..###.......", id="one pulse"),
        pytest.param(5, [0], ".....###....", id="when the part has reached the rejector"),
        pytest.param(5, [0, 4], ".....###.###", id="two parts on their way at once"),
        pytest.param(5, [0, 2], ".....#####..", id="overlapping pulses are one"),
        pytest.param(5, [2, 0], ".....#####..", id="in any order"),
        pytest.param(0, [0, 3], "######......", id="touching pulses too"),
        pytest.param(5, [0, 1, 2, 3, 4], ".....#######", id="all parts"),
    ],
)
def test_pulses_follow_the_parts(delay: int, parts: list[int], expected: str) -> None:
    schedule = PulseSchedule(delay / 10, 0.3)
    for part in parts:
        assert schedule.pulse(part / 10, 0.0) == 0.0
    assert drawn(schedule, 12) == expected


def test_a_part_that_has_passed_is_pulsed_at_once_and_told_how_late() -> None:
    schedule = PulseSchedule(0.2, 0.3)
    assert schedule.pulse(0.0, 0.5) == pytest.approx(0.3)
    assert drawn(schedule, 10) == ".....###.."


def test_a_pulse_that_nobody_looked_at_in_time_comes_late_and_is_not_lost() -> None:
    schedule = PulseSchedule(0.0, 0.3)
    schedule.pulse(0.1, 0.0)
    schedule.pulse(0.9, 0.0)
    assert not schedule.active(0.0) and schedule.active(0.6), "0.1 to 0.4 has passed"
    assert schedule.late_s == pytest.approx(0.5)
    assert [schedule.active(at) for at in (0.89, 0.91, 1.19, 1.21)] == [True, True, True, False]
    schedule.pulse(2.0, 1.3)
    assert schedule.active(2.1) and not schedule.active(2.5), "this one was served"


def test_parts_of_unknown_times_are_one_pulse_over_all_of_them() -> None:
    schedule = PulseSchedule(0.2, 0.1)
    schedule.pulse_between(0.1, 0.5, 0.5)
    assert drawn(schedule, 10) == ".....###.."
    schedule.pulse_between(1.0, 1.2, 0.9)
    assert drawn(schedule, 16)[10:] == "..###."


def test_a_hold_lasts_until_its_release_and_a_pulse_at_least() -> None:
    schedule = PulseSchedule(0.2, 0.3)
    schedule.hold("a", 0.0)
    schedule.hold("a", 0.1)
    assert drawn(schedule, 10) == "..########"
    schedule.release("a", 0.6)
    schedule.release("b", 0.6)
    assert drawn(schedule, 10) == "..######.."
    schedule.hold("c", 0.0)
    schedule.release("c", 0.1)
    assert schedule.last_end_s() == pytest.approx(0.5)


@settings(deadline=None)
@given(
    parts=st.lists(st.integers(0, 40), max_size=30),
    delay=st.integers(0, 10),
    length=st.integers(1, 6),
)
def test_the_schedule_is_active_exactly_while_a_part_is_there(
    parts: list[int], delay: int, length: int
) -> None:
    schedule = PulseSchedule(float(delay), float(length))
    for part in parts:
        schedule.pulse(float(part), float("-inf"))
    now, changes = -1.0, 0
    while (change := schedule.next_change_s(now)) < float("inf"):
        now, changes = change, changes + 1
        there = any(0 <= now + 0.5 - (part + delay) < length for part in parts)
        assert schedule.active(now + 0.5) is there
    assert changes <= 2 * len(set(parts)) and not schedule.active(now + 1)
