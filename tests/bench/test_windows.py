"""Measuring until three windows in a row agree."""

from __future__ import annotations

from edge_ad.bench.windows import AT_MOST, agree, measure_windows


def test_the_last_three_that_agree_count() -> None:
    windows = iter([[0.010] * 5, [0.020] * 5, [0.0201] * 4, [0.0199] * 3])
    measured = measure_windows(lambda: next(windows))
    assert measured.stable
    assert measured.last == [0.020] * 5 + [0.0201] * 4 + [0.0199] * 3
    assert [row["p50_ms"] for row in measured.as_json()] == [10, 20, 20.1, 19.9]


def test_a_machine_that_never_settles_is_unstable() -> None:
    times = [0.01 * 1.3**number for number in range(AT_MOST)]
    windows = iter([[seconds] * 5 for seconds in times])
    measured = measure_windows(lambda: next(windows))
    assert not measured.stable and len(measured.calls) == AT_MOST


def test_an_equal_rate_with_other_medians_does_not_agree() -> None:
    even, uneven = [0.010] * 10, [0.001] * 9 + [0.091]
    windows = iter([even, even, uneven] * 4)
    assert not measure_windows(lambda: next(windows)).stable


def test_two_windows_never_agree() -> None:
    assert not agree([1.0, 1.0])
    assert agree([1.0, 1.0, 1.0]) and agree([0.95, 1.0, 1.05]) and not agree([0.8, 1.0, 1.2])
