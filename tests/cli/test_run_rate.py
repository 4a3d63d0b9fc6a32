"""`edge-ad run` against the rate that the threshold guarantees."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_ad.sidecar import load_sidecar, save_sidecar
from tests.conftest import invoke

MakePath = Callable[..., Path]


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def parts(make_folder: MakePath) -> Path:
    return make_folder("parts", 12, bright=(4, 5, 6))


def test_more_rejects_than_guaranteed_are_reported_once(make_engine: MakePath, parts: Path) -> None:
    engine = make_engine()
    done = invoke("run", "--camera", parts, "--engine", engine, "--json")
    rates = [r for r in lines(done) if r.get("kind") == "reject_rate"]
    assert [record["event"] for record in rates] == ["new", "end"]
    assert "parts rejected" in rates[0]["reason"] and rates[0]["peak_score"] is None
    check = lines(done)[-1]["rate_check"]
    assert check["exceeded"] and check["exceeded_at"] == rates[0]["frame"]
    assert (check["parts"], check["guaranteed_rate"], check["level"]) == (12, 0.01, 0.01)
    assert lines(done)[-1]["camera_faults"] == 0
    text = invoke("run", "--camera", parts, "--engine", engine, "--quiet").stdout
    assert "guarantee  exceeded at frame" in text


@pytest.mark.parametrize(("rule", "parts_counted"), [("stream", 1), ("frame", 12)])
def test_frames_per_part_of_a_threshold_count_only_where_parts_are_not_frames(
    make_engine: MakePath, parts: Path, rule: str, parts_counted: int
) -> None:
    engine = make_engine()
    sidecar = load_sidecar(engine)
    assert sidecar is not None and sidecar.threshold is not None
    threshold = sidecar.threshold.replace(frames_per_part=12)
    save_sidecar(engine, sidecar.replace(threshold=threshold))
    done = invoke("run", "--camera", parts, "--engine", engine, "--json", "--part", rule)
    assert lines(done)[-1]["rate_check"]["parts"] == parts_counted


@pytest.mark.parametrize(
    "options", [("--expected-anomalous", 0.5), ("--frames-per-part", 12), ("--threshold", 0.5)]
)
def test_rejects_that_were_to_be_expected_are_not_reported(
    make_engine: MakePath, parts: Path, options: tuple[object, ...]
) -> None:
    done = invoke("run", "--camera", parts, "--engine", make_engine(), "--json", *options)
    assert not any(record.get("kind") == "reject_rate" for record in lines(done))
    summary = lines(done)[-1]
    assert ("rate_check" in summary) == (options[0] != "--threshold")
    assert not summary.get("rate_check", {}).get("exceeded")
