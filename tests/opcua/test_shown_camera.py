"""The fail-safe rule: Pass is true for a fresh PASS of a live line, and for nothing else."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from edge_ad.opcua.nodes import CAMERA
from edge_ad.opcua.shown_camera import Quality, ShownCamera

RESULT = {
    "verdict": "PASS",
    "score": 0.1,
    "threshold": 0.5,
    "part": 7,
    "frame": 8,
    "time_utc": "2026-11-28T10:00:00.000+00:00",
    "result_id": "x-7",
    "latency_s": 0.02,
    "regions": [],
}


def camera(verdict: str | None, at_s: float = 10.0, fault: str = "") -> ShownCamera:
    result = None if verdict is None else {**RESULT, "verdict": verdict}
    return ShownCamera("top", result, at_s, fault=fault)


@pytest.mark.parametrize("alive", [True, False])
@pytest.mark.parametrize(
    ("verdict", "at_s", "fault"),
    list(itertools.product(["PASS", "REJECT", "INVALID", None], [10.0, 7.9], ["", "lost"])),
)
def test_pass_is_true_for_a_fresh_pass_alone(
    verdict: str | None, at_s: float, fault: str, *, alive: bool
) -> None:
    values = camera(verdict, at_s, fault).values(10.0, 2.0, alive=alive)
    good = alive and at_s == 10.0 and not fault and verdict in ("PASS", "REJECT")
    assert values["Result.Pass"][0] is (good and verdict == "PASS")
    assert values["Result.Fail"][0] is (good and verdict == "REJECT")
    assert (values["VisionState"][0] == "Operational") is good
    assert bool(values["Reason"][0]) is not good
    qualities = {value for path, (_, value) in values.items() if path.startswith("Result.")}
    assert (qualities == {Quality.GOOD}) is good
    assert Quality.GOOD not in qualities or good
    for name in ("Pass", "Fail"):  # a bad value is null, which a reader may skip
        assert not values[f"Result.{name}"][1].value.startswith("Bad")


@pytest.mark.parametrize("verdict", ["PASS", None])
def test_every_variable_has_a_value(verdict: str | None) -> None:
    assert set(camera(verdict).values(10.0, 2.0, alive=True)) == set(CAMERA)


def test_a_paused_camera_is_no_pass() -> None:
    state = camera("PASS")
    state.paused = True
    values = state.values(10.0, 2.0, alive=True)
    assert values["Result.Pass"] == (False, Quality.LAST)
    assert values["Reason"][0] == "the camera is paused"


def test_an_invalid_frame_has_no_score() -> None:
    state: Any = camera("INVALID")
    state.result = {**state.result, "score": None, "reason": "black frame"}
    values = state.values(10.0, 2.0, alive=True)
    assert math.isnan(values["Result.Score"][0])
    assert values["Reason"][0] == "black frame"
