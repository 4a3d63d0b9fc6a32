"""Outlets that take commands ask the line what `edge-ad ctl` asks, with the same checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_ad.outlet.base import Ask, OfCameras, Outlet
from tests.control.lines import RunningLine


class Asking(Outlet):
    """An outlet that asks what a test says."""

    ask: Ask

    def controlled(self, ask: Ask) -> None:
        self.ask = ask


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[tuple[RunningLine, Asking]]:
    outlet = Asking()
    line = RunningLine(tmp_path, "top", "side")
    line.line.outlets.add(OfCameras(outlet, frozenset({"top"})))
    with line:
        yield line, outlet


def test_an_outlet_sets_a_threshold_and_its_name_is_recorded(
    asking: tuple[RunningLine, Asking],
) -> None:
    line, outlet = asking
    request = {"command": "set_threshold", "camera": "top", "threshold": 0.99, "reason": "lamp"}
    assert outlet.ask(request, "mqtt hall")["type"] == "settings"
    assert line.judge("top", "R") == ["PASS"]
    line.store.flush(20)
    (change,) = [event for event in line.events("setting") if event.get("who")]
    assert (change["who"], change["camera"], change["reason"]) == ("mqtt hall", "top", "lamp")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"command": "trigger", "camera": "top"}, "has no software trigger"),
        ({"command": "set_threshold", "camera": "none", "threshold": 0.5}, "has no camera 'none'"),
        (
            {"command": "set_threshold", "camera": "top", "threshold": "high"},
            "got `str`",
        ),
        ({"command": "set_threshold", "camera": "top", "threshold": float("nan")}, "a JSON number"),
        ({"command": "set_threshold", "camera": "top"}, "threshold: missing"),
        ({"command": "threshold, retained: it would be repeated"}, "retained"),
    ],
)
def test_what_is_refused_is_answered_and_reported_once(
    asking: tuple[RunningLine, Asking], request_: Mapping[str, Any], message: str
) -> None:
    line, outlet = asking
    for _ in range(3):
        answer = outlet.ask(request_, "mqtt hall")
        assert answer["type"] == "error" and message in str(answer["message"])
    line.store.flush(20)
    (refused,) = line.events("control")
    assert (refused["who"], refused["step"]) == ("mqtt hall", "refused")


def test_a_line_that_stops_takes_no_command(asking: tuple[RunningLine, Asking]) -> None:
    line, outlet = asking
    line.control.close()
    answer = outlet.ask({"command": "state"}, "mqtt hall")
    assert answer == {"type": "error", "message": "the line is stopping."}
