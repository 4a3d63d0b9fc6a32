"""Comparing results with regard to their noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_ad.bench.comparison import compare_samples, spread
from edge_ad.bench.result import check_same_kind, compare_results, read_result, write_result
from edge_ad.errors import DataError, UsageError

CONDITIONS = {"processor": "A", "cores": 2}


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        ([0.0102] * 9, "slower"),
        ([0.0098] * 9, "faster"),
        ([0.0100] * 9, "within noise"),
        ([0.0101] * 3 + [0.0103] * 3 + [0.0099] * 3, "within noise"),
    ],
)
def test_a_change_counts_beyond_the_noise(new: list[float], verdict: str) -> None:
    (change,) = compare_samples({"engine": [0.01] * 9}, {"engine": new, "loop": new})
    assert change.verdict == verdict
    assert change.as_json()["old_ms"] == 10.0


def test_noise_is_how_far_the_thirds_lie_apart() -> None:
    assert spread([1.0] * 4 + [1.1] * 4 + [1.0] * 4) == pytest.approx(0.1)


def test_a_result_comes_back_with_its_samples(tmp_path: Path) -> None:
    write_result(tmp_path / "a.json", {"schema": 1, "conditions": CONDITIONS}, {"engine": [0.1]})
    assert read_result(tmp_path / "a.json")["samples"] == {"engine": [0.1]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 2, "samples": {}, "conditions": {}}',
        '{"schema": 1, "samples": {"a": [1.0]}}',
        '{"schema": 1, "samples": {"a": [1.0]}, "conditions": []}',
        '{"schema": 1, "samples": {"a": [1.0]}, "conditions": {"versions": 1}}',
        '{"schema": 1, "samples": {"a": ["x"]}, "conditions": {}}',
        '{"schema": 1, "samples": {"a": [NaN]}, "conditions": {}}',
        '{"schema": 1, "samples": {"a": [-1.0]}, "conditions": {}}',
        '{"schema": 1, "samples": {"a": [true]}, "conditions": {}}',
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"old\.json"):
        read_result(path)


def _result(**changed: Any) -> dict[str, Any]:
    conditions = {**CONDITIONS, "engine_sha256": "1", "versions": {"numpy": "2.0"}, "threads": 0}
    conditions |= changed.pop("conditions", {})
    made = {"engine": "a.onnx", "precision": "fp32", "conditions": conditions, "samples": {}}
    return made | changed


@pytest.mark.parametrize(
    ("changed", "doubts"),
    [
        ({}, []),
        ({"conditions": {"processor": "B"}}, ["processor: A before, B now"]),
        ({"conditions": {"threads": 1}}, ["threads: 0 before, 1 now"]),
        ({"conditions": {"camera": "a.mp4"}}, ["camera: unknown before, a.mp4 now"]),
        ({"conditions": {"versions": {"numpy": "2.1"}}}, ["numpy: 2.0 before, 2.1 now"]),
        ({"conditions": {"versions": {}}}, []),
        ({"conditions": {"other_cores": 0.04}}, []),
        ({"conditions": {"other_cores": 1.3}},
         ["other programs took an unknown number of cores before, 1.3 now"]),
        ({"stable": False}, ["one of the results is unstable"]),
        ({"engine": "b.onnx", "precision": "int8", "conditions": {"engine_sha256": "2"}},
         ["engine: a.onnx (fp32) before, b.onnx (int8) now"]),
        ({"conditions": {"engine_sha256": "2"}},
         ["engine: a.onnx (fp32) before, a.onnx (fp32) now, of other content"]),
    ],
)  # fmt: skip
def test_what_is_not_the_same_is_said(changed: dict[str, Any], doubts: list[str]) -> None:
    old = json.loads(json.dumps(_result()))
    assert compare_results(old, _result(**changed), {}) == ([], doubts)


def test_times_of_one_result_alone_are_named() -> None:
    old = _result(samples={"engine": [0.1] * 9, "loop": [0.2] * 9, "stage decode": [0.1] * 9})
    new = {"engine": [0.1] * 9, "loop": [0.2] * 2, "2 streams": [0.1] * 9}
    changes, doubts = compare_results(old, _result(), new)
    assert [change.name for change in changes] == ["engine"]
    assert doubts == [
        "measured only before: stage decode",
        "measured only now: 2 streams",
        "too few to compare: loop",
    ]


@pytest.mark.parametrize(
    ("before", "now"),
    [(None, "offline"), ("offline", None), ("offline", "single-stream")],
)
def test_another_scenario_is_refused(before: str | None, now: str | None) -> None:
    old = _result(**({"scenario": {"scenario": before}} if before else {}))
    with pytest.raises(UsageError, match=f"Give --scenario {before}" if before else "Leave out"):
        check_same_kind(old, now, Path("old.json"))
    check_same_kind(old, before, Path("old.json"))
