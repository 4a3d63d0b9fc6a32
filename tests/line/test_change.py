"""The test for changes keeps its rate of false alarms, and finds what it should."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.line.change import ChangeStep, ChangeTest, Reference, reference_from

RNG = np.random.default_rng(0)


def minute(number: int) -> str:
    return f"2026-11-28T{number // 60:02d}:{number % 60:02d}Z"


def normal(count: int) -> list[float]:
    """Draw a reference's values."""
    return [float(value) for value in RNG.standard_normal(count)]


def steps(test: ChangeTest, values: Sequence[float] | NDArray[np.float64]) -> list[tuple[int, str]]:
    """Return the numbers of the values that cause a step."""
    results = [(number, test.update(float(v), minute(number))) for number, v in enumerate(values)]
    return [(number, step.value) for number, step in results if step is not None]


def autocorrelated(count: int, frames: int, phi: float) -> NDArray[np.float64]:
    """Return the medians of minutes of so many frames that each resemble the one before.

    Each frame is standard normal, so that the reference of single frames is, too.
    """
    noise = RNG.standard_normal(count * frames) * math.sqrt(1 - phi**2)
    values = np.empty(count * frames)
    last = RNG.standard_normal()
    for number, step in enumerate(noise):
        last = phi * last + step
        values[number] = last
    return np.median(values.reshape(count, frames), axis=1)


def siegmund_minutes(limit: float, allowance: float) -> float:
    """Return the minutes to a false alarm in one direction (Siegmund 1985, eq. 2.56)."""
    b = 2 * allowance * (limit + 1.166)
    return (math.exp(b) - b - 1) / (2 * allowance**2)


def test_the_stated_rate_is_that_of_the_limit() -> None:
    years = siegmund_minutes(15.0, 0.5) / 2 / (60 * 24 * 365)
    assert 19.5 < years < 21


@pytest.mark.parametrize("images", [50, 300])
def test_false_alarms_keep_the_rate_where_each_minute_has_one_part(images: int) -> None:
    """A low limit shows it in a short time; references differ, minutes are independent."""
    limit, chains, count = 6.0, 100, 300
    alarms = 0
    for _ in range(chains):
        test = ChangeTest(reference_from(normal(images)), limit)
        alarms += bool(steps(test, RNG.standard_normal(count)))
    allowed = 1 - math.exp(-2 * count / siegmund_minutes(limit, 0.5))
    assert alarms < chains * allowed + 2.5 * math.sqrt(chains * allowed * (1 - allowed))


def test_frames_that_resemble_each_other_raise_no_alarm() -> None:
    """Ten hours of 50 frames a minute, each 0.95 like the one before."""
    test = ChangeTest(reference_from(normal(300)), limit=8.0)
    assert steps(test, autocorrelated(600, 50, 0.95)) == []


@pytest.mark.parametrize(("shift", "most"), [(1.5, 30), (2.5, 12), (-4.0, 8)])
def test_a_shift_is_found_within_minutes_with_its_beginning(shift: float, most: int) -> None:
    test = ChangeTest(reference_from(normal(300)))
    values = autocorrelated(100, 25, 0.8)
    values[60:] += shift
    ((found, step),) = steps(test, values)
    assert step == "new" and 60 < found <= 60 + most
    assert abs(int(test.since[14:16]) + 60 * int(test.since[11:13]) - 60) <= 3
    assert test.now == pytest.approx(shift, abs=0.5)
    assert test.reference.centre == pytest.approx(0, abs=0.2)


def test_a_change_ends_when_the_reference_is_back() -> None:
    test = ChangeTest(reference_from(normal(300)))
    values = 0.2 * RNG.standard_normal(120)
    values[30:60] += 3
    (_, new), (end, over) = steps(test, values)
    assert (new, over) == ("new", "end") and 65 <= end <= 75
    assert test.since == ""


def test_one_wild_minute_is_no_change() -> None:
    test = ChangeTest(reference_from(normal(300)))
    values = 0.5 * RNG.standard_normal(100)
    values[[20, 50, 80]] = 1e6
    assert steps(test, values) == []


def test_what_is_within_the_tolerance_is_no_change() -> None:
    light = [118 + 0.1 * value for value in normal(300)]  # lamps are that stable
    assert steps(ChangeTest(reference_from(light, tolerance=2.0)), [119.5] * 100) == []
    assert steps(ChangeTest(reference_from(light, tolerance=2.0)), [96.0] * 100) == [(6, "new")]


def test_a_constant_reference_is_one() -> None:
    test = ChangeTest(reference_from([5.0] * 30))
    assert steps(test, [5.0] * 100) == []
    assert [step for _, step in steps(test, [5.1] * 100)] == ["new"]


def test_a_restart_goes_on_with_the_sums() -> None:
    values = 0.5 * RNG.standard_normal(30) + 2
    whole = ChangeTest(reference_from(normal(300)))
    first = ChangeTest(whole.reference)
    expected = steps(whole, values)
    cut = expected[0][0] - 2
    steps(first, values[:cut])
    second = ChangeTest(whole.reference)
    second.restore(json.loads(json.dumps(first.state())))
    ((found, step),) = steps(second, values[cut:])
    assert (found + cut, step) == expected[0]


def test_scores_are_places_among_the_reference() -> None:
    reference = Reference((0.0, 1.0, 2.0, 3.0, 4.0), 100)
    assert reference.normal_score(2.0) == 0
    assert reference.normal_score(3.0) == pytest.approx(0.674, abs=0.01)
    assert reference.normal_score(1.0) == -reference.normal_score(3.0)
    assert reference.normal_score(4.1) == pytest.approx(2.33, abs=0.01)  # 1 of 101
    assert reference.normal_score(100.0) == 3
    assert ChangeStep.NEW.value == "new"
