"""The check for machines with a GPU, run on a fake GPU."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.engine import EngineOptions, Prediction
from edge_ad.engine.options import DEFAULT_OPTIONS
from edge_ad.engine.tensorrt.plan import TensorRTEngine
from edge_ad.engine.tensorrt.preflight import read_plan_sidecar
from edge_ad.errors import GateFailed, IncompatibleError
from edge_ad.frame import Image
from edge_ad.plan_record import NoGpu, TargetGpu
from tests.engine.tensorrt.fake_cuda import FakeCuda
from tests.engine.tensorrt.fake_program import FakeProgram

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: nothing to build with")

ROOT = Path(__file__).resolve().parent.parent.parent
ENGINE = ROOT / "tests" / "engines" / "green-32-b1.onnx"
GPU = TargetGpu("NVIDIA H100", "9.0", "13.0", "580.95.05", 81_000)
RUNTIME = ("--runtime", "tensorrt-rtx")


def green(images: Image) -> Prediction:
    maps = (images[:, :, :, 1] / np.float32(255)).astype(np.float32)
    return Prediction(maps, maps.max(axis=(1, 2)))


def open_fake(
    path: Path, options: EngineOptions = DEFAULT_OPTIONS, *, for_line: bool = False
) -> TensorRTEngine:
    """Open a plan on the fake GPU; it predicts what the tests' engines predict."""
    cuda, manifest = FakeCuda(), read_plan_sidecar(path).manifest
    assert manifest is not None
    return TensorRTEngine(
        str(path),
        manifest,
        cuda,
        lambda: FakeProgram(cuda, green, size_hw=manifest.size_hw),
        graphs=options.cuda_graph,
    )


@pytest.fixture
def gpu_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return the script, with a GPU, few images, and limits that a fake GPU can meet."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script, facts, measure, results = (
        importlib.import_module(name)
        for name in ("gpu_check", "gpu_facts", "gpu_measure", "results")
    )
    for module in (script, facts):
        monkeypatch.setattr(module, "gpu_here", lambda: GPU)
    monkeypatch.setattr(measure, "open_plan", open_fake)
    monkeypatch.setattr("edge_ad.line.config.open_engine", open_fake)
    monkeypatch.setattr(measure, "WARM_UP", 2)
    monkeypatch.setattr(measure, "IMAGES", 6)
    monkeypatch.setattr(script, "FOOTAGE", tmp_path / "none.mp4")
    monkeypatch.setattr(script, "LOOP_RATIO", 0.0)
    monkeypatch.setattr(script, "BEYOND_GPU_P99_MS", 1e9)
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    return script


def run(script: Any, monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", *map(str, words)])
    script.main()


def test_a_run_writes_a_result_file_that_names_the_gpu(
    gpu_check: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ("--engine", ENGINE, "--calls", 20, "--skip-tests", *RUNTIME)
    run(gpu_check, monkeypatch, *words)
    (path,) = tmp_path.glob("*.json")
    assert path.name == "nvidia_h100-tensorrt_rtx-green_32_b1.fp32.json"
    found = json.loads(path.read_text())
    assert found["device"] == "NVIDIA H100"
    assert found["settings"]["facts"]["driver"] == "580.95.05"
    assert found["settings"]["build"]["runtime"] == "tensorrt-rtx"
    metrics = found["metrics"]
    assert metrics["parity"]["within"] and metrics["parity"]["max_abs_map"] < 1e-5
    assert metrics["replayed"]["graph"] == "replayed"
    assert metrics["launched"]["graph"] == "not asked for"
    assert metrics["loop_ratio"] > 0 and metrics["overlapped_fps"] > 0
    assert {len(samples) for samples in found["samples"].values()} == {20}


def test_a_limit_that_is_not_met_is_named_after_the_file_is_written(
    gpu_check: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu_check, "LOOP_RATIO", 1e9)
    words = ("--engine", ENGINE, "--calls", 5, "--skip-tests", *RUNTIME)
    with pytest.raises(GateFailed, match="green-32-b1 fp32: loop at"):
        run(gpu_check, monkeypatch, *words)
    assert list(tmp_path.glob("*.json"))


def test_without_a_gpu_there_is_nothing_to_check(
    gpu_check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_check, "gpu_here", lambda: NoGpu("no driver"))
    with pytest.raises(IncompatibleError, match="nothing to check here: no driver"):
        run(gpu_check, monkeypatch)


@pytest.mark.slow
def test_skipped_tests_count_as_failed(gpu_check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a separate pytest without a GPU, every test skips."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    limits = gpu_check.LimitLog()
    summary = gpu_check.run_tests(limits)
    assert summary["exit"] == 0 and "skipped" in summary["summary"]
    assert limits.failed == ["tests on the GPU"]


def test_engines_made_elsewhere_are_not_exported_again(
    gpu_check: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("exported again")

    monkeypatch.setattr(gpu_check, "export_fresh", refuse)
    for name in ("fp32", "fp16"):
        (tmp_path / f"destseg_256_{name}.onnx").write_bytes(b"")
    engines = gpu_check.destseg_engines(tmp_path)
    assert [engine.onnx.stem for engine in engines] == ["destseg_256_fp32", "destseg_256_fp16"]


class Network:
    """A network that stays on the CPU, as where torch has no GPU."""

    def eval(self) -> Network:
        return self

    cuda = eval

    def __call__(self, images: object) -> None:
        raise RuntimeError("unreachable without a GPU")


def test_a_failure_of_torch_is_reported_and_the_run_goes_on(
    gpu_check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch, "compile", lambda network: network)  # loads a compiler for seconds
    images = np.zeros((1, 32, 32, 3), np.uint8)
    found = gpu_check.gpu_measure.measure_torch(Network(), images, 3)
    assert set(found) == {"eager", "compiled"}
    assert all("error" in side or "call_p50_ms" in side for side in found.values())
