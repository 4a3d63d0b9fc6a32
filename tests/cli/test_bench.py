from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MakePath = Callable[..., Path]


def bench(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_ad", "bench", "--duration-s", "0.05", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_engine_and_loop_are_measured(make_engine: MakePath, make_folder: MakePath) -> None:
    parts, engine = make_folder("parts", 8), make_engine(threshold=None)
    done = bench("--engine", engine, "--camera", parts, "--rounds", 2, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["loop_frames"] == 8 and found["calls"] > 1
    assert found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"] <= found["max_ms"]
    assert 0 < found["loop_ratio"] and found["loop_fps"] > 0


@pytest.mark.parametrize(
    ("limit", "code"), [("p50_ms<1e9", 0), ("p50_ms<0", 4), ("p51_ms<1", 2), ("fast", 2)]
)
def test_a_promise_is_kept_or_the_command_fails(
    make_engine: MakePath, limit: str, code: int
) -> None:
    done = bench("--engine", make_engine(), "--assert", limit)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_source_cannot_be_measured(make_engine: MakePath, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert bench("--engine", make_engine(), "--camera", tmp_path / "empty").returncode == 5


@pytest.mark.parametrize("words", [("--roi", "0,0,16,16"), ("--tiles", "2x2"), ("--threshold", 1)])
def test_what_only_the_loop_heeds_needs_a_camera(
    make_engine: MakePath, words: tuple[object, ...]
) -> None:
    done = bench("--engine", make_engine(), *words)
    assert done.returncode == 2
    assert "Give --camera" in done.stderr
