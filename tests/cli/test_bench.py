"""`edge-ad bench`: the engine alone, the loop beside it, and limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CompletedProcess, invoke

MakePath = Callable[..., Path]


def bench(*arguments: object) -> CompletedProcess:
    return invoke("bench", "--duration-s", "0.05", *arguments)


def test_engine_and_loop_are_measured(make_engine: MakePath, make_folder: MakePath) -> None:
    parts, engine = make_folder("parts", 8), make_engine(threshold=None)
    done = bench("--engine", engine, "--camera", parts, "--rounds", 2, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["loop_frames"] == 8 and result["calls"] > 1
    assert result["p50_ms"] <= result["p95_ms"] <= result["p99_ms"] <= result["max_ms"]
    assert 0 < result["loop_ratio"] and result["loop_fps"] > 0


def test_the_text_is_a_table_with_units(make_engine: MakePath, make_folder: MakePath) -> None:
    words = ("--engine", make_engine(), "--camera", make_folder("parts", 4), "--rounds", 1)
    done = bench(*words)
    assert done.returncode == 0, done.stderr
    head, *rows = [line.split() for line in done.stdout.splitlines()[2:6]]
    assert head == ["frames/s", "p50", "ms", "p95", "ms", "p99", "ms", "max", "ms"]
    assert [row[0] for row in rows] == ["engine", "engine,", "loop"]
    assert all(float(cell) > 0 for row in rows for cell in row[-5:])
    assert "{" not in done.stdout and "of the engine's speed on 4 frames" in done.stdout


@pytest.mark.parametrize(
    ("limit", "code"), [("p50_ms<1e9", 0), ("p50_ms<0", 4), ("p51_ms<1", 2), ("fast", 2)]
)
def test_a_limit_that_is_not_met_fails_the_command(
    make_engine: MakePath, limit: str, code: int
) -> None:
    done = bench("--engine", make_engine(), "--assert", limit)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_source_cannot_be_measured(make_engine: MakePath, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert bench("--engine", make_engine(), "--camera", tmp_path / "empty").returncode == 5


@pytest.mark.parametrize(
    "options", [("--roi", "0,0,16,16"), ("--tiles", "2x2"), ("--threshold", 1)]
)
def test_options_of_the_loop_need_a_camera(
    make_engine: MakePath, options: tuple[object, ...]
) -> None:
    done = bench("--engine", make_engine(), *options)
    assert done.returncode == 2
    assert "Give --camera" in done.stderr
