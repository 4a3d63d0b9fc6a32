"""What a hand may type or a disk may hold: one paragraph and an exit code, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MakePath = Callable[..., Path]


def edge_ad(*words: object, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_ad", *map(str, words)]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "option", ["threshold", "pixel-threshold", "hysteresis", "overlap", "duration-s", "timeout-s"]
)
def test_nan_is_no_number(option: str) -> None:
    """A threshold that nothing exceeds would pass every part."""
    done = edge_ad("run", "--camera", "a.png", "--engine", "a.onnx", f"--{option}", "nan")
    assert done.returncode == 2 and f"--{option}" in done.stderr and "not a number" in done.stderr


def test_corners_lie_where_they_can_be_drawn() -> None:
    far = "0,0 1,1 99999999999,3"
    done = edge_ad("run", "--camera", "a.png", "--engine", "a.onnx", "--ignore", far)
    assert done.returncode == 2 and "within 1000000 pixels" in done.stderr


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("camera: {PARTS}\nengine: {ENGINE}\nignore: 0,0 4,0 0,4", 0, ""),
        ("camera: [{PARTS}]\nengine: [{ENGINE}]", 2, "engine wants one value, got a list"),
        ("camera: [{PARTS}]\nengine: {ENGINE}\noutput: {{a: 1}}", 2, "output wants one value"),
        ("camera: {PARTS}\nengine: {ENGINE}\nthreshold: .nan", 2, "not a number"),
        ("camera: {PARTS}\nengine: {ENGINE}\nroi: 3", 2, "x,y,width,height"),
        ("camera: 97\nengine: {ENGINE}", 5, "video97"),
    ],
)
def test_a_file_says_what_flags_say(
    make_engine: MakePath,
    make_folder: MakePath,
    tmp_path: Path,
    line: str,
    code: int,
    message: str,
) -> None:
    config, parts = tmp_path / "line.yaml", make_folder("parts", 2)
    config.write_text(line.format(PARTS=parts, ENGINE=make_engine()) + "\nquiet: true\n")
    done = edge_ad("run", "-c", config)
    assert done.returncode == code and message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--json"], ["--quiet"]])
def test_an_output_that_cannot_be_written_is_a_lost_sink(
    make_engine: MakePath, make_folder: MakePath, words: list[str]
) -> None:
    parts = make_folder("parts", 4, bright=(1, 2))
    with Path("/dev/full").open("wb") as full:
        done = edge_ad(
            "run", "--camera", parts, "--engine", make_engine(), *words, stdout=full.fileno()
        )
    assert done.returncode == 6 and "Traceback" not in done.stderr, done.stderr
    assert "No space left on device" in done.stderr.splitlines()[-1]


def test_a_reader_that_has_gone_ends_the_run_quietly(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    """As with `edge-ad run --json | head -1`."""
    command = [sys.executable, "-m", "edge_ad", "run", "--json", "--engine", str(make_engine())]
    command += ["--camera", str(make_folder("parts", 60))]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        stderr = running.stderr.read()
    assert (running.returncode, stderr) == (1, "")


@pytest.mark.parametrize("what", ["truncated", "empty", "text", "another contract"])
def test_an_engine_that_is_none_is_refused(
    make_engine: MakePath, make_folder: MakePath, what: str
) -> None:
    engine = make_engine()
    content = engine.read_bytes()
    broken = {
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "text": b"an engine",
        "another contract": content.replace(b"anomaly_score", b"anomaly_scare"),
    }
    engine.write_bytes(broken[what])
    for verb in ("run", "bench"):
        done = edge_ad(verb, "--camera", make_folder(verb, 2), "--engine", engine)
        assert done.returncode == 3 and str(engine) in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
