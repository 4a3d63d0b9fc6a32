"""Comparing results with regard to their noise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_ad.bench.comparison import compare_samples, spread
from edge_ad.bench.result import compare_results, read_result, write_result
from edge_ad.errors import DataError

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
    ["", "[]", "{}", '{"schema": 2, "samples": {}}', '{"schema": 1, "samples": {"a": ["x"]}}'],
)
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"old\.json"):
        read_result(path)


def test_another_machine_is_said(tmp_path: Path) -> None:
    old = {"conditions": CONDITIONS, "samples": {}, "stable": True}
    new = {"conditions": {"processor": "B", "cores": 2}, "stable": False}
    _, doubts = compare_results(json.loads(json.dumps(old)), new, {})
    assert doubts == ["processor: A before, B now", "one of the results is unstable"]
