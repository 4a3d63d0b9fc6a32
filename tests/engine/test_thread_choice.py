"""The rule that chooses an engine's threads, against scripted times of calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_ad.engine.thread_choice import BLOCK, CALLS_PER_REVIEW, ROUNDS, ThreadChoice

ALONE, BESIDE = (8.5, 12.0, 15.8), (30.5, 24.0, 16.2)  # ms of the three settings


@dataclass
class Line:
    """Calls an engine 25 times a second whose times in ms are those of `times`."""

    times: tuple[float, ...] = ALONE
    load: float = 0.0
    now: float = 0.0
    used: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.choice = ThreadChoice(3, clock=lambda: self.now, other_cores=lambda: self.load)

    def call(self, calls: int, length: int = 1) -> None:
        for _ in range(calls):
            setting = self.choice.next(length)
            self.used.append(setting)
            wobble = 1 + 0.05 * (len(self.used) * 7 % 10 - 4.5) / 4.5
            self.choice.measured(length, self.times[setting] / 1e3 * length * wobble)
            self.now += 0.04

    def call_until(self, done: Callable[[], bool], most: int) -> int:
        for call in range(most):
            if done():
                return call
            self.call(1)
        raise AssertionError(f"not within {most} calls")


def test_the_default_stays_where_it_is_fastest() -> None:
    line = Line()
    line.call(2_000)
    assert line.choice.reviews == 1
    assert line.choice.current == 0


def test_the_first_calls_after_a_change_of_threads_do_not_count() -> None:
    now, setting_before, since = 0.0, 0, 0
    choice = ThreadChoice(2, clock=lambda: now, other_cores=lambda: 0.0)
    for _ in range(1_000):
        setting = choice.next(1)
        since = since + 1 if setting == setting_before else 1
        setting_before = setting
        took_ms = (10.0, 50.0 if since <= 2 else 5.0)[setting]
        choice.measured(1, took_ms / 1e3)
        now += 0.04
    assert choice.current == 1, "twice as fast, once its threads have their cores"


def test_a_load_that_comes_and_goes_is_followed() -> None:
    line = Line()
    line.call(1_000)
    line.times, line.load = BESIDE, 2.0
    line.call_until(lambda: line.choice.current == 2, most=300)  # 12 s
    line.call(CALLS_PER_REVIEW)
    line.times, line.load = ALONE, 0.0
    line.call_until(lambda: line.choice.current == 0, most=300)


def test_a_load_that_the_system_does_not_show_is_noticed_by_the_times() -> None:
    line = Line()
    line.call(1_000)
    line.times = BESIDE
    line.call_until(lambda: line.choice.current == 2, most=300)


def test_a_change_without_any_sign_is_noticed_by_and_by() -> None:
    line = Line()
    line.call(1_000)
    line.times = (8.5, 12.0, 7.0)
    line.call_until(lambda: line.choice.current == 2, most=CALLS_PER_REVIEW + 300)


def test_reviews_keep_to_their_budget() -> None:
    line = Line()
    for _ in range(20):
        line.load = 2.0 - line.load  # a sign of change at every look, without one
        line.call(2_000)
    assert line.choice.current == 0
    reviews = 2 + len(line.used) / CALLS_PER_REVIEW
    assert sum(setting != 0 for setting in line.used) <= reviews * 2 * ROUNDS * BLOCK


def test_settings_that_are_far_slower_are_tried_in_one_round_only() -> None:
    line = Line(times=(8.5, 9.0, 15.8))
    line.call(2_000)
    assert line.choice.reviews == 1
    assert [line.used.count(setting) for setting in (1, 2)] == [ROUNDS * BLOCK, BLOCK]


def test_a_review_ends_when_no_other_setting_is_left() -> None:
    line = Line()
    line.call(2_000)
    assert line.choice.reviews == 1
    assert [line.used.count(setting) for setting in (1, 2)] == [BLOCK, BLOCK]


def test_a_current_setting_that_is_far_slower_is_replaced() -> None:
    line = Line(times=BESIDE)
    line.call(2_000)
    assert line.choice.current == 2


def test_a_difference_below_the_margin_changes_nothing() -> None:
    line = Line(times=(8.5, 8.35, 8.4))
    line.call(2_000)
    assert line.choice.reviews == 1
    assert line.choice.current == 0


def test_batches_of_another_length_neither_count_nor_wait() -> None:
    line = Line()
    while line.choice.next(1) == line.choice.current and len(line.used) < 1_000:
        line.call(1)
    before = len(line.used)
    line.call(500, length=3)  # a review is under way
    assert set(line.used[before:]) == {line.choice.current}
    line.call(100)
    assert line.choice.reviews == 1
