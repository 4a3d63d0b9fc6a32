"""Triggers: which frame is judged, and what becomes of a trigger that gets none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_ad.frame import Frame
from edge_ad.line.trigger import Missed, Trigger, TriggerLimits

MakePath = Callable[..., Path]


def frame(captured_s: float, index: int = 0) -> Frame:
    image = np.random.default_rng(index).integers(20, 60, (64, 64, 3)).astype(np.uint8)
    return Frame(image, index, captured_s, "cam")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def reason_of(trigger: Trigger) -> str:
    missed = trigger.wait_missed()
    assert missed is not None
    return missed.reason


def test_the_next_frame_captured_after_the_trigger_is_taken_and_no_other() -> None:
    trigger = Trigger(clock=Clock())
    with trigger.watched():
        assert trigger.take(frame(99.0)) is None, "nobody asked"
        assert trigger.fire()
        assert trigger.take(frame(99.9)) is None and trigger.take(frame(100.0)) is None
        taken = trigger.take(frame(100.1))
        assert taken is not None and (taken.captured_s, taken.triggered_s) == (100.1, 100.0)
        assert trigger.take(frame(100.2)) is None, "one frame a trigger"
        assert trigger.served() and trigger.take(frame(100.3)) is None
        assert trigger.counts.fired == trigger.counts.served == 1


def test_a_delay_passes_over_frames_before_the_part_arrives() -> None:
    trigger = Trigger(TriggerLimits(delay_s=0.5), Clock())
    with trigger.watched():
        trigger.fire()
        assert trigger.take(frame(100.4)) is None and trigger.take(frame(100.6)) is not None


@pytest.mark.parametrize("taken", [False, True])
def test_a_trigger_during_another_is_missed_and_gets_no_frame(taken: bool) -> None:  # noqa: FBT001
    trigger = Trigger(clock=Clock())
    with trigger.watched():
        trigger.fire()
        if taken:
            trigger.take(frame(101))
        assert not trigger.fire()
        assert reason_of(trigger) == "the previous trigger is still being served"
        taken = taken or trigger.take(frame(101)) is not None
        assert taken and trigger.served()
        assert trigger.take(frame(102)) is None
        assert (trigger.counts.fired, trigger.counts.served, trigger.counts.missed) == (2, 1, 1)


@pytest.mark.parametrize(
    ("limits", "at_s", "reason"),
    [
        (TriggerLimits(0.5, 1.0), 101.5, "no frame within 1.5 s"),
        (TriggerLimits(0, 1.0, 0.2), 100.2, "no verdict within 0.2 s"),
    ],
)
def test_without_a_frame_in_time_a_trigger_is_missed(
    limits: TriggerLimits, at_s: float, reason: str
) -> None:
    clock = Clock()
    trigger = Trigger(limits, clock)
    with trigger.watched():
        trigger.fire()
        clock.now = at_s
        assert trigger.wait_missed() == Missed(reason, 100.0)
        assert trigger.take(frame(at_s + 1)) is None and trigger.fire()


def test_a_verdict_that_comes_too_late_is_dropped_and_blocks_until_it_comes() -> None:
    clock = Clock()
    trigger = Trigger(TriggerLimits(verdict_within_s=0.2), clock)
    with trigger.watched():
        trigger.fire()
        trigger.take(frame(100.1))
        clock.now = 100.2
        assert trigger.wait_missed() == Missed("no verdict within 0.2 s", 100.0)
        assert not trigger.fire(), "the engine is still at it"
        assert not trigger.served() and trigger.fire()
        assert (trigger.counts.fired, trigger.counts.missed) == (3, 2)


def test_a_served_trigger_is_not_missed_when_its_times_have_passed() -> None:
    clock = Clock()
    trigger = Trigger(TriggerLimits(frame_within_s=1.0, verdict_within_s=0.2), clock)
    with trigger.watched():
        trigger.fire()
        trigger.take(frame(100.1))
        assert trigger.served()
        clock.now = 200.0
        trigger.close()
        assert trigger.wait_missed() is None
    assert (trigger.counts.served, trigger.counts.missed) == (1, 0)


def test_the_end_of_the_camera_misses_what_is_under_way() -> None:
    trigger = Trigger(clock=Clock())
    assert not trigger.fire()
    with trigger.watched():
        trigger.fire()
    trigger.close()
    reasons = [trigger.wait_missed(), trigger.wait_missed(), trigger.wait_missed()]
    assert reasons == [Missed("the camera is in fault", 100.0)] * 2 + [None]


def test_during_a_pause_triggers_and_lost_inputs_are_no_parts() -> None:
    trigger = Trigger(clock=Clock())
    with trigger.watched():
        trigger.paused = True
        assert not trigger.fire() and not trigger.busy
        trigger.input_lost("the chip is gone", 3)
        trigger.paused = False
        trigger.input_lost("the chip is gone", 2)
    trigger.close()
    assert list(iter(trigger.wait_missed, None)) == [Missed("the chip is gone", 100.0, 2)]
    counts = trigger.counts
    assert (counts.ignored, counts.fired, counts.served, counts.missed) == (1, 2, 0, 2)


def test_reasons_that_take_turns_are_all_counted_in_little_memory() -> None:
    trigger = Trigger(clock=Clock())
    for number in range(1_000):
        trigger.input_lost(f"reason {number % 2}")
    trigger.close()
    missed = list(iter(trigger.wait_missed, None))
    assert len(missed) <= 200 and sum(each.count for each in missed) == 1_000


def test_a_flood_of_triggers_takes_no_memory_and_is_counted() -> None:
    trigger = Trigger(clock=Clock())
    for _ in range(100_000):
        trigger.fire()
    trigger.close()
    missed = list(iter(trigger.wait_missed, None))
    assert len(missed) <= 200 and sum(each.count for each in missed) == 100_000
    assert trigger.counts.missed == 100_000
