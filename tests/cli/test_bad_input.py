"""Wrong options and unfit files: one paragraph and an exit code, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import edge_ad, invoke

MakePath = Callable[..., Path]


@pytest.mark.parametrize(
    "option", ["threshold", "pixel-threshold", "hysteresis", "overlap", "duration-s", "timeout-s"]
)
def test_nan_is_refused(option: str) -> None:
    """A threshold that nothing exceeds would pass every part."""
    done = invoke("run", "--camera", "a.png", "--engine", "a.onnx", f"--{option}", "nan")
    assert done.returncode == 2 and f"--{option}" in done.stderr and "not a number" in done.stderr


@pytest.mark.parametrize("option", ["threshold", "pixel-threshold"])
@pytest.mark.parametrize("value", ["inf", "-inf", "1e400"])
def test_a_threshold_is_finite(option: str, value: str) -> None:
    """Nothing exceeds infinity, so every part would pass."""
    done = invoke("run", "--camera", "a.png", "--engine", "a.onnx", f"--{option}={value}")
    assert done.returncode == 2
    assert f"--{option}" in done.stderr and "not a finite number" in done.stderr


def test_polygon_corners_must_be_drawable() -> None:
    far = "0,0 1,1 99999999999,3"
    done = invoke("run", "--camera", "a.png", "--engine", "a.onnx", "--ignore", far)
    assert done.returncode == 2 and "within 1000000 pixels" in done.stderr


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("camera: {PARTS}\nengine: {ENGINE}\nignore: 0,0 4,0 0,4\nthreshold: 0.5", 0, ""),
        ("camera: [{PARTS}]\nengine: [{ENGINE}]", 2, "engine expects one value, got a list"),
        ("camera: [{PARTS}]\nengine: {ENGINE}\noutput: {{a: 1}}", 2, "output expects one value"),
        ("camera: {PARTS}\nengine: {ENGINE}\nthreshold: .nan", 2, "not a number"),
        ("camera: {PARTS}\nengine: {ENGINE}\nroi: 3", 2, "x,y,width,height"),
        ("camera: 97\nengine: {ENGINE}\nrequire-cameras: true", 5, "video97"),
    ],
)
def test_a_configuration_file_is_checked_like_options(
    make_engine: MakePath,
    make_folder: MakePath,
    tmp_path: Path,
    content: str,
    code: int,
    message: str,
) -> None:
    config, parts = tmp_path / "line.yaml", make_folder("parts", 2)
    config.write_text(content.format(PARTS=parts, ENGINE=make_engine()) + "\nquiet: true\n")
    done = invoke("run", "-c", config)
    assert done.returncode == code and message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--json"], ["--quiet"]])
def test_an_output_that_cannot_be_written_is_a_lost_outlet(
    make_engine: MakePath, make_folder: MakePath, words: list[str]
) -> None:
    parts = make_folder("parts", 4, bright=(1, 2))
    with Path("/dev/full").open("wb") as full:
        done = edge_ad(
            "run", "--camera", parts, "--engine", make_engine(), *words, stdout=full.fileno()
        )
    assert done.returncode == 6 and "Traceback" not in done.stderr, done.stderr
    assert "No space left on device" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("content", ["truncated", "empty", "text", "another contract"])
def test_a_file_that_is_no_engine_is_refused(
    make_engine: MakePath, make_folder: MakePath, content: str
) -> None:
    engine = make_engine()
    original = engine.read_bytes()
    broken = {
        "truncated": original[: len(original) // 2],
        "empty": b"",
        "text": b"an engine",
        "another contract": original.replace(b"anomaly_score", b"anomaly_scare"),
    }
    engine.write_bytes(broken[content])
    for verb in ("run", "bench"):
        done = invoke(verb, "--camera", make_folder(verb, 2), "--engine", engine)
        assert done.returncode == 3 and str(engine) in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
