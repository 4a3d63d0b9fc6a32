"""`edge-ad run` where every frame is one part."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_run import lines
from tests.conftest import invoke

MakePath = Callable[..., Path]


@pytest.fixture
def parts(make_folder: MakePath) -> Path:
    return make_folder("parts", 12, bright=(4, 5, 6))


def test_with_frames_as_parts_every_reject_is_an_event_with_an_image(
    make_engine: MakePath, parts: Path, tmp_path: Path
) -> None:
    out, outlet = tmp_path / "out", tmp_path / "rejects.jsonl"
    words = ("run", "--camera", parts, "--engine", make_engine(), "--part", "frame", "-o", out)
    done = invoke(*words, "--outlet", f"file:{outlet}", "--json", "--threshold", 0.5)
    assert done.returncode == 0, done.stderr
    *records, summary = lines(done)
    assert [record["type"] for record in records] == ["inspection"] * 12
    assert (summary["rejected"], summary["alarms"], summary["part"]) == (3, 0, "frame")
    assert summary["evidence"]["written"] == 3
    events = lines(invoke("events", out, "--json"))
    assert [event["type"] for event in events] == ["line", *["reject"] * 3, "line"]
    for event, part in zip(events[1:4], (5, 6, 7), strict=True):
        assert event["part"] == part and (out / event["evidence"]).is_file()
    sent = [json.loads(line) for line in outlet.read_text().splitlines()]
    assert [(record["type"], record["part"]) for record in sent] == [
        ("reject", part) for part in (5, 6, 7)
    ]
    quiet = invoke(*words, "--quiet", "--threshold", 0.5).stdout
    assert quiet.count("REJECT") == 3 and "ALARM" not in quiet and "alarms" not in quiet
    assert "rejected   3" in quiet and "evidence   3 images" in quiet


def test_a_verdict_that_comes_too_late_is_invalid(make_engine: MakePath, parts: Path) -> None:
    words = ("run", "--camera", parts, "--engine", make_engine(), "--json", "--threshold", 0.5)
    done = invoke(*words, "--verdict-within-s", "0.000001", "--part", "frame")
    *records, summary, error = lines(done)
    assert done.returncode == 5 and "none of its 12 frames could be judged" in error["message"]
    late = [record for record in records if record["type"] == "inspection"]
    assert {record["verdict"] for record in late} == {"INVALID"}
    assert all(r["reason"].startswith("late: the verdict took") for r in late)
    assert (summary["rejected"], summary["invalid"]) == (0, 12)
    assert summary["latency_ms"]["p50"] > 0, "late verdicts are in the times"
