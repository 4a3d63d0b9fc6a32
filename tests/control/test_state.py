"""The state of a camera, as `edge-ad ctl DIR state` and the page show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ad.control.state import camera_state
from edge_ad.errors import SourceLost
from edge_ad.line.trigger import Trigger
from tests.control.lines import RunningLine, wait_for


def state(running: RunningLine) -> dict[str, Any]:
    return camera_state(running.line.cameras[0], running.settings)


def test_the_check_of_the_rate_is_active_under_its_own_threshold_only(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top", rate=0.01) as running:
        running.judge("top", "..R")
        check = state(running)["rate_check"]
        assert (check["parts"], check["rejected"], check["active"]) == (3, 1, True)
        running.settings.set_threshold("top", 2, who="anna")
        assert state(running)["rate_check"]["active"] is False


def test_triggers_are_counted_where_there_is_one(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top") as running:
        assert "triggers" not in state(running) and "rate_check" not in state(running)
        trigger = running.line.cameras[0].trigger = Trigger()
        trigger.fire()
        counts = {"fired": 1, "served": 0, "missed": 1, "ignored": 0}
        assert state(running)["triggers"] == counts


def test_a_camera_waits_judges_is_in_fault_or_has_ended(tmp_path: Path) -> None:
    with RunningLine(tmp_path, "top") as running:
        assert state(running)["state"] == "waiting"
        running.judge("top", ".")
        assert state(running)["state"] == "judging"
        running.taps["top"].lose()
        wait_for(lambda: state(running)["state"] == "fault")
        (fault,) = state(running)["alarms"]
        assert fault["kind"] == "camera_fault" and "no frame" in fault["reason"]
        running.settings.pause("top", on=True, who="anna")
        assert state(running)["state"] == "paused"
        running.settings.pause("top", on=False, who="anna")
        running.line.cameras[0].error = SourceLost("top: no such device")
        assert (state(running)["state"], state(running)["error"]) == (
            "ended",
            "top: no such device",
        )
        running.line.cameras[0].error = None
