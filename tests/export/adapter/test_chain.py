"""Every verb works on every graph that `import` accepts."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edge_ad.engine import open_engine
from edge_ad.engine.tensorrt.runtimes import installed
from tests.calibration.int8_models import images
from tests.conftest import CompletedProcess, invoke
from tests.export.adapter.foreign_graphs import GRAPHS

FAST = ("uint8",)  # the others are slow together, and each graph is imported in any case


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("images") / "normal", 24)


def run(*words: object) -> CompletedProcess:
    """Run a command and expect exit code 0."""
    result = invoke(*words)
    assert result.returncode == 0, f"{words}: {result.stderr or result.stdout}"
    return result


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory, normal: Path) -> Callable[[str], Path]:
    """Return a function that makes a folder of a graph's engines in every precision, once."""

    @cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp("graph")
        options, part = GRAPHS[name](folder / "theirs.onnx"), folder / "part.onnx"
        run("import", folder / "theirs.onnx", "-o", part, *options)
        run("convert", part, "--precision", "fp16")
        for target in ("onnxruntime", "tensorrt"):
            words = [*images_of(normal), "--target", target, "--no-gate", "--method", "minmax"]
            run("calibrate", part, *words, "--samples", 8, "-o", folder / f"part.{target}.onnx")
        return folder

    return make


def images_of(normal: Path) -> list[object]:
    """Return the options for images of a part each, which are not compared to find that out."""
    return ["--images", normal, "--parts-from", "each"]


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_it_is_imported_to_one_form(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = GRAPHS[name](Path("theirs.onnx"))
    result = json.loads(run("import", "theirs.onnx", "-o", "part.onnx", *options, "--json").stdout)
    assert (result["opset"], result["ir_version"]) == (18, 8)
    assert result["size_hw"] == [32, 32]
    with open_engine(Path("part.onnx")) as engine:
        assert engine.infer(np.zeros((3, 32, 32, 3), np.uint8)).maps.shape == (3, 32, 32)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in GRAPHS]
)
def test_it_is_imported_converted_judged_and_compared(
    name: str, folder_of: Callable[[str], Path], normal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder_of(name))
    for other in ("part.onnxruntime.onnx", "part.tensorrt.onnx", "part.fp16.onnx"):
        run("verify", "part.onnx", other, "--images", normal, "--frames", 8)
    rate = ["--false-alarm-rate", 0.2, "--confidence", 0.9]
    run("threshold", "part.onnx", *images_of(normal), *rate)
    run("run", "--camera", normal, "--engine", "part.onnx", "-o", "out", "--json")


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_it_is_compiled_in_every_precision(
    name: str, folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "tensorrt-rtx" not in installed():
        pytest.skip("TensorRT-RTX is not installed")
    monkeypatch.chdir(folder_of(name))
    for engine in ("part.onnx", "part.fp16.onnx", "part.tensorrt.onnx"):
        run("build", engine, "--runtime", "tensorrt-rtx")
