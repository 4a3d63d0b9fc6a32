from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from edge_ad.event import AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.line.alarm import Alarm, AlarmRule, PartRule

NAN = float("nan")


def inspections(scores: list[float], threshold: float = 1.0) -> list[Inspection]:
    """One inspection per score; NaN stands for an INVALID frame."""
    return [
        Inspection(_verdict(score, threshold), score, threshold, frame=index, source="cam")
        for index, score in enumerate(scores)
    ]


def _verdict(score: float, threshold: float) -> Verdict:
    if score != score:
        return Verdict.INVALID
    return Verdict.REJECT if score > threshold else Verdict.PASS


def history(
    scores: list[float], rule: AlarmRule | None = None, threshold: float = 1.0
) -> list[str]:
    """Return the events as 'frame kind:event id', up to the end of the run."""
    numbers = itertools.count(1)
    alarm = Alarm(rule or AlarmRule(k=2, n=3), lambda: str(next(numbers)))
    events = [event for frame in inspections(scores, threshold) for event in alarm.update(frame)]
    events += alarm.finish(len(scores) - 1)
    return [f"{e.frame} {e.kind.value[0]}:{e.event.value} {e.id}" for e in events]


def test_one_defect_gives_one_alarm_with_one_id() -> None:
    assert history([0, 2, 2, 2, 0, 0, 0, 0]) == ["2 d:new 1", "6 d:end 1"]


def test_a_growing_defect_updates_and_a_shrinking_one_does_not() -> None:
    assert history([2, 2, 3, 2.9, 4, 0, 0, 0]) == [
        "1 d:new 1",
        "2 d:update 1",
        "4 d:update 1",
        "7 d:end 1",
    ]


def test_two_defects_apart_get_two_ids() -> None:
    assert history([2, 2, 0, 0, 0, 2, 2]) == ["1 d:new 1", "4 d:end 1", "6 d:new 2", "6 d:end 2"]


def test_hysteresis_prevents_several_alarms_for_a_score_at_the_threshold() -> None:
    at_the_limit = [1.1, 1.1, 0.95, 0.95, 0.95, 1.1, 1.1, 0.5, 0.5, 0.5]
    assert history(at_the_limit) == ["1 d:new 1", "9 d:end 1"]
    plain = history(at_the_limit, AlarmRule(k=2, n=3, hysteresis=0.0))
    assert [line for line in plain if "new" in line] == ["1 d:new 1", "6 d:new 2"]


def test_hysteresis_lowers_a_negative_threshold_too() -> None:
    scores = [-0.4, -0.4, -0.52, -0.52, -0.52, -0.6, -0.6, -0.6, -0.6, -0.6]
    assert history(scores, threshold=-0.5) == ["1 d:new 1", "7 d:end 1"]


def test_invalid_frames_raise_a_camera_fault_at_once_and_no_defect() -> None:
    assert history([0, NAN, NAN, 0, 0, 0, 0]) == ["1 c:new 1", "5 c:end 1"]


def test_invalid_frames_do_not_clear_a_defect() -> None:
    events = history([2, 2, NAN, NAN, NAN, NAN, 2])
    assert [line for line in events if "d:" in line] == ["1 d:new 1", "6 d:end 1"]


def test_an_alarm_names_the_file_of_its_peak() -> None:
    alarm = Alarm(AlarmRule(k=1, n=1), lambda: "a")
    frames = [replace(each, file=f"{each.frame}.png") for each in inspections([2, 5, 3, 0])]
    events = [event for frame in frames for event in alarm.update(frame)]
    assert [(event.event, event.file) for event in events] == [
        (AlarmStep.NEW, "0.png"),
        (AlarmStep.UPDATE, "1.png"),
        (AlarmStep.END, "1.png"),
    ]


def test_an_update_carries_the_peak() -> None:
    alarm = Alarm(AlarmRule(k=1, n=1), lambda: "a")
    events = [event for frame in inspections([2, 5, 3]) for event in alarm.update(frame)]
    assert [event.event for event in events] == [AlarmStep.NEW, AlarmStep.UPDATE]
    assert (events[1].peak_score, events[1].peak_frame) == (5, 1)
    (end,) = alarm.finish(2)
    assert (end.event, end.kind, end.peak_frame) == (AlarmStep.END, AlarmKind.DEFECT, 1)


def test_where_frames_are_parts_only_the_camera_raises_alarms() -> None:
    alarm = Alarm(AlarmRule(k=1, n=2), lambda: "a", part_rule=PartRule.FRAME)
    events = [e for frame in inspections([2, 2, NAN, 2, 2, 2]) for e in alarm.update(frame)]
    assert [(e.kind, e.event, e.frame) for e in events] == [
        (AlarmKind.CAMERA_FAULT, AlarmStep.NEW, 2),
        (AlarmKind.CAMERA_FAULT, AlarmStep.END, 4),
    ]


@pytest.mark.parametrize("scores", [[], [0.0] * 5])
def test_normal_frames_cause_no_event(scores: list[float]) -> None:
    assert history(scores) == []
