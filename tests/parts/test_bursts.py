"""Bursts of times: the images of a part in quick succession, then a pause."""

from __future__ import annotations

import pytest

from edge_ad.parts.bursts import bursts, time_in


def series(*sizes: int, step_s: float = 0.2, pause_s: float = 20.0) -> list[float]:
    """Return the times of so many images in each burst."""
    times, now = [], 0.0
    for size in sizes:
        for _ in range(size):
            times.append(round(now, 3))
            now += step_s
        now += pause_s
    return times


def test_each_burst_has_a_number_whatever_the_order_of_the_images() -> None:
    times = series(2, 3, 2)
    assert bursts(times) == [0, 0, 1, 1, 1, 2, 2]
    shuffled = [times[one] for one in (5, 0, 3, 6, 2, 1, 4)]
    assert bursts(shuffled) == [2, 0, 1, 2, 1, 0, 1]


@pytest.mark.parametrize(
    ("times", "why"),
    [
        (series(60, 60, 60), "recordings with breaks between"),
        (series(6), "one image after the other"),
        (series(2, 2), "too few to say"),
        (series(1, 1, 1, 2), "most parts have one image"),
        (series(3, 3, 3, step_s=8), "the pauses are hardly longer than the steps"),
        (series(3, 3, 3, step_s=0.0, pause_s=2), "whole seconds: the steps may be nearly a second"),
    ],
)
def test_times_without_clear_bursts_give_none(times: list[float], why: str) -> None:
    assert bursts(times) is None, why


def test_whole_seconds_with_clear_pauses_are_bursts() -> None:
    assert bursts(series(3, 3, 3, step_s=0.0, pause_s=9)) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("x_20261128_143501.png", 0.0),
        ("x_20261128_143501_250.png", 0.25),
        ("2026-11-28T14:35:02.000125Z", 1.000125),
        ("x_20261128_146501", None),  # no such minute
        ("x_20261328_143501", None),
        ("x_120261128_143501", None),  # a longer number
        ("x_12", None),
    ],
)
def test_the_time_in_a_name(name: str, seconds: float | None) -> None:
    first = time_in("20261128143501")
    assert first is not None
    time = time_in(name)
    assert (time if time is None else time - first) == pytest.approx(seconds, abs=1e-5)
