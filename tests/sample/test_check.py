"""Comparison of a run with ground truth, and the shipped detector on its footage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import edge_ad.sample
from edge_ad.errors import GateFailed
from edge_ad.sample.check import compare, read_truth, require_all_detected
from tests.conftest import invoke

HERE = Path(edge_ad.sample.__file__).parent
TRUTH = {
    "defects": [{"part": 2, "kind": "dent"}, {"part": 5, "kind": "stain"}],
    "visible": {
        **{frame: [{"part": 2, "box_xywh": [100 + frame, 50, 10, 10]}] for frame in range(10, 20)},
        **{frame: [{"part": 5, "box_xywh": [100 + frame, 50, 10, 10]}] for frame in range(60, 70)},
    },
}


def reject(frame: int, x: int = 112, y: int = 52) -> dict[str, Any]:
    region = {"x": x, "y": y, "width": 5, "height": 5}
    return {"type": "inspection", "frame": frame, "verdict": "REJECT", "regions": [region]}


def alarm(frame: int, event: str = "new", name: str = "a") -> dict[str, Any]:
    return {"type": "alarm", "event": event, "frame": frame, "id": name}


def test_a_defect_is_detected_when_an_alarm_covers_it() -> None:
    first = [reject(12), reject(13), alarm(13), alarm(17, "end")]
    records = [*first, reject(62, x=165), reject(63, x=165), alarm(63, name="b")]
    result = compare(records, TRUTH)
    assert result.missed == [] and result.false_alarms == ()
    require_all_detected(result)


@pytest.mark.parametrize(
    ("records", "missed", "false_alarms"),
    [
        pytest.param([reject(12), reject(13)], [2, 5], (), id="rejected without an alarm"),
        pytest.param(
            [alarm(11), alarm(12, "end"), reject(13)], [2, 5], (), id="rejected after the alarm"
        ),
        pytest.param([reject(13, x=200), alarm(13)], [2, 5], (), id="the wrong place"),
        pytest.param(
            [reject(13), alarm(13), alarm(16, "end"), alarm(40, name="b")],
            [5],
            (40,),
            id="a false alarm",
        ),
        pytest.param([], [2, 5], (), id="no alarm at all"),
    ],
)
def test_missed_defects_and_false_alarms_fail_the_gate(
    records: list[dict[str, Any]], missed: list[int], false_alarms: tuple[int, ...]
) -> None:
    result = compare(records, TRUTH)
    assert (result.missed, result.false_alarms) == (missed, false_alarms)
    with pytest.raises(GateFailed, match=f"{len(missed)} of 2 anomalous"):
        require_all_detected(result)


def test_the_summary_counts_by_kind() -> None:
    summary = compare([reject(12), reject(13), alarm(13)], TRUTH).summary()
    assert summary["by_kind"]["dent"] == {"plates": 1, "detected": 1}
    assert summary["by_kind"]["stain"] == {"plates": 1, "detected": 0}


def test_the_shipped_files_are_small_enough_to_ship() -> None:
    assert (HERE / "engine.onnx").stat().st_size <= 6_000_000
    assert (HERE / "footage.mp4").stat().st_size <= 3_000_000


def run_on_footage(*options: object) -> list[dict[str, Any]]:
    files = ("--camera", HERE / "footage.mp4", "--engine", HERE / "engine.onnx")
    done = invoke("run", *files, "--json", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_the_shipped_detector_detects_every_defect_and_nothing_else() -> None:
    result = compare(run_on_footage(), read_truth(HERE / "footage.mp4.yaml"))
    assert set(result.kinds.values()) == {"scratch", "dent", "stain", "missing_print"}
    require_all_detected(result)
