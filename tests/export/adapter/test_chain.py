"""Every verb works on every graph that `import` accepts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_ad.engine import open_engine
from edge_ad.engine.tensorrt.runtimes import installed
from tests.calibration.int8_models import images
from tests.conftest import CompletedProcess, invoke
from tests.export.adapter.foreign_graphs import GRAPHS

FAST = ("uint8",)  # the others are slow together, and each graph is imported in any case
Run = Callable[..., CompletedProcess]


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("images") / "normal", 24)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command in the test's folder and expects exit code 0."""
    monkeypatch.chdir(tmp_path)

    def succeed(*words: object) -> CompletedProcess:
        result = invoke(*words)
        assert result.returncode == 0, f"{words}: {result.stderr or result.stdout}"
        return result

    return succeed


def images_of(normal: Path) -> list[object]:
    """Return the options for images of a part each, which are not compared to find that out."""
    return ["--images", normal, "--parts-from", "each"]


@pytest.mark.parametrize("name", GRAPHS)
def test_it_is_imported_to_one_form(name: str, run: Run) -> None:
    options = GRAPHS[name](Path("theirs.onnx"))
    result = json.loads(run("import", "theirs.onnx", "-o", "part.onnx", *options, "--json").stdout)
    assert (result["opset"], result["ir_version"]) == (18, 8)
    assert result["size_hw"] == [32, 32]
    with open_engine(Path("part.onnx")) as engine:
        assert engine.infer(np.zeros((3, 32, 32, 3), np.uint8)).maps.shape == (3, 32, 32)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in GRAPHS]
)
def test_it_is_imported_converted_judged_and_compared(name: str, run: Run, normal: Path) -> None:
    options = GRAPHS[name](Path("theirs.onnx"))
    run("import", "theirs.onnx", "-o", "part.onnx", *options)
    run("convert", "part.onnx", "--precision", "fp16")
    for target in ("onnxruntime", "tensorrt"):
        words = [*images_of(normal), "--target", target, "--no-gate", "--method", "minmax"]
        int8 = f"part.{target}.onnx"
        run("calibrate", "part.onnx", *words, "--samples", 8, "-o", int8)
        run("verify", "part.onnx", int8, "--images", normal, "--frames", 8)
    run("verify", "part.onnx", "part.fp16.onnx", "--images", normal, "--frames", 8)
    rate = ["--false-alarm-rate", 0.2, "--confidence", 0.9]
    run("threshold", "part.onnx", *images_of(normal), *rate)
    run("run", "--camera", normal, "--engine", "part.onnx", "-o", "out", "--json")


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_it_is_compiled_in_every_precision(name: str, run: Run, normal: Path) -> None:
    if "tensorrt-rtx" not in installed():
        pytest.skip("TensorRT-RTX is not installed")
    options = GRAPHS[name](Path("theirs.onnx"))
    run("import", "theirs.onnx", "-o", "part.onnx", *options)
    run("convert", "part.onnx", "--precision", "fp16")
    words = [*images_of(normal), "--target", "tensorrt", "--no-gate", "--method", "minmax"]
    run("calibrate", "part.onnx", *words, "--samples", 8)
    for engine in ("part.onnx", "part.fp16.onnx", "part.int8.onnx"):
        run("build", engine, "--runtime", "tensorrt-rtx")
