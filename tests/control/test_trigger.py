"""Software triggers through the control socket: of the camera that is named, and of no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.control.client import RequestRefused, request
from edge_ad.line.trigger import Trigger, TriggerLimits
from tests.control.lines import RunningLine


def test_a_trigger_is_fired_for_the_camera_that_is_named(tmp_path: Path) -> None:
    running = RunningLine(tmp_path, "top", "side")
    for camera in running.line.cameras:
        camera.trigger = Trigger(TriggerLimits(frame_within_s=1e6))
        camera.software_trigger = True
    top, side = (camera.trigger for camera in running.line.cameras)
    assert top is not None and side is not None
    with running, side.watched():
        answer = request(tmp_path, {"command": "trigger", "camera": "side"})
        assert (answer["camera"], answer["accepted"]) == ("side", True)
        assert (side.busy, top.counts.fired) == (True, 0)
        again = request(tmp_path, {"command": "trigger", "camera": "side"})
        assert again["accepted"] is False, "the first one is still being served"
        missed = request(tmp_path, {"command": "trigger", "camera": "top"})
        assert missed["accepted"] is False, "it delivers no frames"
    assert (side.counts.fired, side.counts.missed, top.counts.missed) == (2, 2, 1)


def test_a_trigger_of_a_paused_camera_is_refused(tmp_path: Path) -> None:
    running = RunningLine(tmp_path, "top")
    (camera,) = running.line.cameras
    camera.trigger, camera.software_trigger = Trigger(), True
    with running:
        running.settings.pause("top", on=True, who="anna")
        with pytest.raises(RequestRefused, match="camera top is paused: its triggers are ignored"):
            request(tmp_path, {"command": "trigger", "camera": "top"})
    assert camera.trigger.counts.fired == 0
