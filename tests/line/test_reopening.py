"""When a lost camera is tried again, and how long its fault stands, by a clock of the test."""

from __future__ import annotations

import pytest

from edge_ad.line.reopening import BackOff, Damping


class Time:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def test_pauses_double_up_to_ten_seconds_and_have_no_end() -> None:
    back_off = BackOff(Time(), vary=lambda: 1.0)
    assert [back_off.pause_s() for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert {back_off.pause_s() for _ in range(1000)} == {10}


def test_pauses_vary_between_half_and_all_of_their_length() -> None:
    assert BackOff(Time(), vary=lambda: 0.0).pause_s() == 0.25
    pauses = {BackOff(Time()).pause_s() for _ in range(50)}
    assert len(pauses) > 1 and all(0.25 <= pause <= 0.5 for pause in pauses)


@pytest.mark.parametrize(("lasted_s", "pause_s"), [(9, 2.0), (10, 0.5)])
def test_only_a_steady_camera_starts_with_short_pauses_again(
    lasted_s: float, pause_s: float
) -> None:
    clock = Time()
    back_off = BackOff(clock, vary=lambda: 1.0)
    back_off.lost()
    back_off.pause_s(), back_off.pause_s()
    back_off.opened()
    clock.s += lasted_s
    back_off.lost()
    assert back_off.pause_s() == pause_s
    clock.s += 7
    assert back_off.away_s() == 7


def test_a_single_fault_ends_at_once_and_a_lost_camera_ten_seconds_later() -> None:
    clock = Time()
    damping = Damping(clock)
    damping.began()
    damping.faulty()
    assert not damping.holds()
    damping.lost()
    clock.s += 9.9
    assert damping.holds()
    clock.s += 0.2
    assert not damping.holds()


def test_a_fault_that_returns_stands_twice_as_long_up_to_a_minute() -> None:
    clock = Time()
    damping = Damping(clock)
    for expected_s in (0, 10, 20, 40, 60, 60):
        damping.began()
        damping.faulty()
        clock.s += max(0.0, expected_s - 0.1)
        assert damping.holds() is (expected_s > 0)
        clock.s += 0.2
        assert not damping.holds()
        damping.ended()
    clock.s += 61
    damping.began()
    damping.faulty()
    assert not damping.holds(), "a minute without faults is a new start"
