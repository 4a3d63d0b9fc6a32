"""Threshold, rule and pause, changed while the line runs and kept when it starts again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_ad.errors import UsageError
from edge_ad.event import AlarmKind, AlarmStep
from edge_ad.line.alarm import AlarmRule, PartRule
from edge_ad.line.settings import LineSettings
from edge_ad.line.trigger import Trigger
from edge_ad.setting import Setting, SettingStep
from edge_ad.store.store import Store
from edge_ad.store.writer import Job
from tests.beside import Beside
from tests.control.lines import RunningLine, wait_for


def test_a_threshold_holds_from_the_next_frame(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top", "side") as running:
        assert running.judge("top", "R.") == ["REJECT", "PASS"]
        applied = running.settings.set_threshold("top", 2, who="anna", reason="varnish")
        assert applied.kept and (applied.change.old, applied.change.new) == (0.5, 2.0)
        assert running.judge("top", "R") == ["PASS"]
        assert running.judge("side", "R") == ["REJECT"]
        (event,) = running.events("setting")
    assert {key: event[key] for key in ("camera", "kind", "step", "old", "new", "who")} == {
        "camera": "top",
        "kind": "threshold",
        "step": "set",
        "old": 0.5,
        "new": 2.0,
        "who": "anna",
    }
    assert event["reason"] == "varnish" and event["time_utc"] == applied.change.time_utc
    assert [change.new for change in running.memory.changes] == [2.0]


def test_undo_goes_back_one_change_at_a_time(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top") as running:
        for value in (0.6, 0.7):
            running.settings.set_threshold("top", value, who="anna")
        undone = [running.settings.undo("top", Setting.THRESHOLD, who="ben") for _ in range(2)]
        assert [applied.change.new for applied in undone] == [0.6, 0.5]
        assert running.settings.set_by_hand("top") == []
        with pytest.raises(UsageError, match="nothing to undo"):
            running.settings.undo("top", Setting.THRESHOLD, who="ben")
    with RunningLine(tmp_path, "top") as again:
        assert again.line.cameras[0].inspector.thresholds.image == 0.5


def test_the_newest_changes_can_be_undone_then_the_configured_value_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.line.settings._UNDONE", 3)
    with RunningLine(tmp_path, "top") as running:
        for value in range(1, 7):
            running.settings.set_threshold("top", value, who="a program")
        undone = []
        while running.settings.set_by_hand("top"):
            applied = running.settings.undo("top", Setting.THRESHOLD, who="ben")
            undone.append(applied.change.new)
    assert undone == [5, 4, 3, 0.5]


def test_what_a_person_set_is_kept_with_what_was_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RunningLine(tmp_path, "top") as running:
        running.settings.set_threshold("top", 2, who="anna", reason="varnish")
        running.settings.set_rule("top", {"k": 1}, who="anna")
    with RunningLine(tmp_path, "top") as again:
        assert again.judge("top", "R") == ["PASS"]
        assert again.line.cameras[0].alarm.rule == AlarmRule(1, 3, 0.1)
        assert "the threshold is 2, set by anna at" in caplog.text
        assert "(varnish), and not 0.5 as configured" in caplog.text
        kept = [change for change in again.memory.changes if change.step is SettingStep.KEPT]
        assert {change.setting for change in kept} == {Setting.THRESHOLD, Setting.RULE}
        assert again.settings.undo("top", Setting.THRESHOLD, who="ben").change.new == 0.5
    assert len(again.events("setting")) == 3  # nothing new for what was kept


def test_what_was_undone_is_as_configured_at_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RunningLine(tmp_path, "top") as running:
        running.settings.set_threshold("top", 2, who="anna")
        running.settings.undo("top", Setting.THRESHOLD, who="anna")
    with RunningLine(tmp_path, "top") as again:
        assert again.judge("top", "R") == ["REJECT"]
        assert again.memory.changes == [] and "set by anna" not in caplog.text
        assert again.settings.set_by_hand("top") == []


def test_a_configuration_that_was_changed_later_wins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RunningLine(tmp_path, "top") as running:
        running.settings.set_threshold("top", 2, who="anna")
    with RunningLine(tmp_path, "top", threshold=0.4) as again:
        assert again.line.cameras[0].inspector.thresholds.image == 0.4
        assert "the threshold is 0.4, as configured now, and no longer 2" in caplog.text
        event = again.events("setting")[-1]
        assert (event["step"], event["old"], event["new"]) == ("replaced", 2.0, 0.4)
        assert "after anna had set it" in event["reason"]
    with RunningLine(tmp_path, "top") as third:  # the person's value is forgotten
        assert third.line.cameras[0].inspector.thresholds.image == 0.5


def test_what_is_kept_survives_a_kill(tmp_path: Path) -> None:
    running = RunningLine(tmp_path, "top")
    running.line.start()
    assert running.settings.set_threshold("top", 2, who="anna").kept  # on the disk when it returns
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("line.db", "line.db-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    running.line.finish()
    with RunningLine(copy, "top") as again:
        assert again.line.cameras[0].inspector.thresholds.image == 2


def test_a_rule_holds_from_the_next_frame_and_an_alarm_stays(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top") as running:
        running.settings.set_rule("top", {"k": 1, "n": 1}, who="anna")
        running.judge("top", "R")
        assert [event.event for event in running.memory.events] == [AlarmStep.NEW]
        running.settings.set_rule("top", {"n": 2}, who="anna")
        running.judge("top", ".")
        assert len(running.memory.events) == 1  # two passes in a row end it now
        running.judge("top", ".")
        assert running.memory.events[-1].event is AlarmStep.END
        with pytest.raises(UsageError, match="1 <= k <= n"):
            running.settings.set_rule("top", {"k": 3}, who="anna")
        assert running.line.cameras[0].alarm.rule == AlarmRule(1, 2, 0.1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_threshold_is_finite(tmp_path: Path, value: float) -> None:
    with RunningLine(tmp_path, "top") as running:
        with pytest.raises(UsageError, match="a threshold is a finite number"):
            running.settings.set_threshold("top", value, who="anna")
        with pytest.raises(UsageError, match=r"no camera 'tpo'\. It has: top"):
            running.settings.set_threshold("tpo", 1, who="anna")


def test_a_threshold_by_hand_carries_no_guarantee(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top", rate=0.01) as running:
        check = running.line.cameras[0].alarm.rate_check
        assert check is not None
        running.judge("top", "..")
        running.settings.set_threshold("top", 0.01, who="anna")
        assert running.judge("top", "." * 20) == ["REJECT"] * 20
        assert check.summary().parts == 2 and check.summary().rejected == 0
        running.settings.undo("top", Setting.THRESHOLD, who="anna")
        running.judge("top", ".")
        assert check.summary().parts == 3  # the guarantee is checked again


def test_the_alarm_on_the_rate_ends_with_its_threshold(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top", rate=0.001) as running:
        running.judge("top", "R" * 12)
        kinds = {event.kind for event in running.memory.events}
        assert AlarmKind.REJECT_RATE in kinds
        running.settings.set_threshold("top", 2, who="anna")
        running.judge("top", ".")
        (ended,) = [e for e in running.memory.events if e.event is AlarmStep.END]
        assert ended.kind is AlarmKind.REJECT_RATE and "guarantee is not checked" in ended.reason


def test_a_paused_camera_has_no_verdicts_and_no_alarms(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top", "side") as running:
        running.judge("top", "RRR")
        running.settings.pause("top", on=True, who="anna", reason="cleaning")
        assert running.memory.events[-1].event is AlarmStep.END
        running.taps["top"].give("RR")
        wait_for(running.taps["top"].is_empty)
        assert running.judge("side", ".") == ["PASS"]
        assert running.verdicts("top") == ["REJECT"] * 3
        running.settings.pause("top", on=False, who="anna")
        assert running.judge("top", ".") == ["PASS"]
        assert [event["new"] for event in running.events("setting")] == [True, False]


def test_files_wait_while_their_camera_is_paused(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top", live=False) as running:
        running.judge("top", ".")
        running.settings.pause("top", on=True, who="anna")
        running.taps["top"].give("R..")
        tally = running.line.cameras[0].tally
        taken = running.taps["top"]
        wait_for(lambda: tally.frames > 1 or (taken.under_way and not tally.under_way_since))
        assert running.verdicts("top") == ["PASS"], "the first one waits for a person"
        running.settings.pause("top", on=False, who="anna")
        wait_for(lambda: running.verdicts("top") == ["PASS", "REJECT", "PASS", "PASS"])


def test_a_line_that_ends_during_a_pause_leaves_the_files_unjudged(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top", live=False) as running:
        running.settings.pause("top", on=True, who="anna")
        running.taps["top"].give("..")
        wait_for(lambda: running.taps["top"].under_way)
    assert running.verdicts("top") == []


def test_triggers_of_a_paused_camera_are_ignored(tmp_path: Path) -> None:
    running = RunningLine(tmp_path, "top")
    trigger = running.line.cameras[0].trigger = Trigger()
    with running, trigger.watched():
        running.settings.pause("top", on=True, who="anna")
        assert not trigger.fire()
        running.settings.pause("top", on=False, who="anna")
        assert trigger.fire()
        trigger.served()
    assert (trigger.counts.ignored, trigger.counts.fired) == (1, 1)


def test_where_every_frame_is_a_part_there_is_no_rule_to_change(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top") as running:
        running.line.cameras[0].alarm.part_rule = PartRule.FRAME
        with pytest.raises(UsageError, match="judges every frame as a part: it has no alarm rule"):
            running.settings.set_rule("top", {"k": 1}, who="anna")


def test_what_was_set_for_a_camera_that_is_gone_is_left_alone(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top", "side") as running:
        running.settings.set_threshold("side", 2, who="anna")
    with RunningLine(tmp_path, "top") as without:
        assert without.judge("top", "R") == ["REJECT"]
    with RunningLine(tmp_path, "top", "side") as again:
        assert again.judge("side", "R") == ["PASS"], "it is kept for its return"


def test_a_camera_lost_during_a_pause_is_a_fault_when_it_is_resumed(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top") as running:
        running.judge("top", ".")
        running.settings.pause("top", on=True, who="anna")
        running.taps["top"].lose()
        wait_for(lambda: running.line.cameras[0].loss)
        assert running.memory.events == []
        running.settings.pause("top", on=False, who="anna")
        wait_for(lambda: running.memory.events)
        assert running.memory.events[0].kind is AlarmKind.CAMERA_FAULT
        assert running.verdicts("top") == ["PASS", "INVALID"]


def test_a_pause_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RunningLine(tmp_path, "top") as running:
        running.settings.pause("top", on=True, who="anna")
    with RunningLine(tmp_path, "top") as again:
        assert "is paused, by anna at" in caplog.text
        again.taps["top"].give("RR")
        wait_for(again.taps["top"].is_empty)
        again.settings.pause("top", on=False, who="ben")
        assert again.judge("top", ".") == ["PASS"]
        assert again.verdicts("top") == ["PASS"]


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (lambda settings: settings.set_threshold("top", 0.7, who="ben"), 0.7),
        (lambda settings: settings.undo("top", Setting.THRESHOLD, who="ben"), 0.5),
    ],
)
def test_of_two_people_who_change_at_once_the_later_is_kept(
    change: Callable[[LineSettings], object],
    value: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def put(store: Store, job: Job, within_s: float) -> bool:
        second()
        return put_and_wait(store, job, within_s)

    put_and_wait = Store.put_and_wait
    with RunningLine(tmp_path, "top") as running:
        second = Beside(lambda: change(running.settings))
        monkeypatch.setattr(Store, "put_and_wait", put)
        running.settings.set_threshold("top", 0.6, who="anna")
        second.result()
        assert running.line.cameras[0].inspector.thresholds.image == value
    with RunningLine(tmp_path, "top") as again:
        assert again.line.cameras[0].inspector.thresholds.image == value
