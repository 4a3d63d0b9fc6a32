"""Closed pipes and streams: the exit code, the lost records and the words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CompletedProcess, invoke
from tests.timing import LIMIT_S

MakePath = Callable[..., Path]


@pytest.fixture
def words(make_engine: MakePath, make_folder: MakePath) -> list[str]:
    return ["run", "--camera", str(make_folder("parts", 30)), "--engine", str(make_engine())]


def shell(script: str, words: list[str]) -> CompletedProcess:
    """Run a line of bash; `$@` is the command."""
    command = ["bash", "-c", f"set -o pipefail; {script}", "-", sys.executable, "-m", "edge_ad"]
    return subprocess.run(
        [*command, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


@pytest.mark.parametrize("output", ["--json", "--json=no"])
def test_a_closed_stdout_loses_the_records_and_counts_them(words: list[str], output: str) -> None:
    done = shell('"$@" >&-', words + ["--json"] * (output == "--json"))
    assert done.returncode == 6 and "Traceback" not in done.stderr
    assert "30 frames, 30 of them judged, but records were lost: stdout" in done.stderr
    assert "(31 records)" in done.stderr


def test_a_reader_that_leaves_ends_a_run_that_nobody_else_hears(words: list[str]) -> None:
    camera = words.index("--camera") + 1
    words[camera] = "pattern://?fps=50&width=64&height=64"  # for a minute, unless it ends before
    done = shell('"$@" | head -n 1', [*words, "--json", "--frames", "3000"])
    assert done.returncode == 6 and "Traceback" not in done.stderr
    assert json.loads(done.stdout)["frame"] == 0
    assert "records were lost: stdout: Broken pipe" in done.stderr


def test_a_reader_that_leaves_does_not_end_a_run_with_a_log(
    words: list[str], tmp_path: Path
) -> None:
    folder = str(tmp_path / "out")
    done = shell('"$@" | true', [*words, "-o", folder, "--log-inspections", "all"])
    assert done.returncode == 6
    assert len((tmp_path / "out" / "inspections.jsonl").read_text().splitlines()) == 30
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["judged"] == 30 and list(summary["outlet_faults"]) == ["stdout: Broken pipe"]


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        ('"$@" methods >&-', 6, "the output: cannot be written (closed before"),
        ('"$@" methods > /dev/full', 6, "the output: cannot be written (No space left on device)"),
        ('"$@" methods | head -c 0', 6, "the reader of stdout left before everything was printed"),
        ('"$@" methods 2>&- > /dev/null', 0, ""),
        ('"$@" rum 2> /dev/full', 2, ""),
        ('"$@" rum 2>&-', 2, ""),
        ('"$@" run --engine a.onnx --camera pattern:// > /dev/full 2> /dev/full', 2, ""),
    ],
)
def test_every_verb_ends_in_words(script: str, code: int, message: str) -> None:
    done = shell(script, [])
    assert done.returncode == code and message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--json"], "Missing option '--camera'."),
        (["run", "--json", "--engin", "a"], "No such option"),
        (["run", "--json", "--camera", "a", "--engine", "b", "--alarm-k", "x"], "--alarm-k"),
        (["rum", "--json"], "Did you mean 'run'?"),
        (["inspect", "--json"], "Missing argument 'FILE'."),
        (["inspect", "a", "b", "--json"], "unexpected extra argument"),
        (["run", "--json", "-c", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_usage_errors_are_records_with_json(words: list[str], message: str) -> None:
    done = invoke(*words)
    record = json.loads(done.stdout)
    assert done.returncode == record["exit"] == 2 and record["type"] == "error"
    assert record["error"] == "UsageError" and message in record["message"]
