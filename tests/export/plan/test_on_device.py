"""Plans that TensorRT proper builds on the device that runs them, with a fake builder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_ad.engine.tensorrt.runtimes import TensorRT
from edge_ad.errors import IncompatibleError
from edge_ad.export.plan import build as build_module
from edge_ad.export.plan.build import build_plan
from edge_ad.machine.host import Jetson
from tests.export.plan.fake_tensorrt import ORIN, Config, builder, source, tensorrt


@pytest.fixture
def on_a_jetson(monkeypatch: pytest.MonkeyPatch) -> TensorRT:
    """Let TensorRT be there with a builder that compiles everything to the same bytes."""
    trt, config = tensorrt(), Config()
    make = builder(config)
    make.build_serialized_network = lambda network, given: b"compiled" if given is config else b""
    trt.Builder, trt.IProgressMonitor = lambda logger: make, Monitor
    replaced = {
        "read_source": lambda path: source(),
        "load": lambda runtime: trt,
        "gpu_here": lambda: ORIN,
        "read_jetson": lambda: Jetson("Orin NX", "36.4.0", "6"),
        "parse": lambda trt, builder, logger, source: "network",
        "make_logger": lambda trt: SimpleNamespace(errors=["failed to allocate: out of memory"]),
    }
    for name, value in replaced.items():
        monkeypatch.setattr(build_module, name, value)
    return trt


class Monitor:
    """Stands for TensorRT's own."""


@pytest.mark.usefixtures("on_a_jetson")
def test_a_plan_says_which_machine_it_was_built_for(tmp_path: Path) -> None:
    plan = tmp_path / "part.plan"
    built = build_plan(Path("part.onnx"), plan, runtime="tensorrt").sidecar.build
    assert plan.read_bytes() == b"compiled" and built is not None
    assert (built.runtime, built.version, built.plan_bytes) == ("tensorrt", "10.3.0", 8)
    assert (built.onnx, built.onnx_sha256) == ("part.onnx", "0" * 64)
    assert (built.gpu, built.compute_capability) == ("Orin", "8.7")
    assert (built.cuda, built.driver, built.jetpack) == ("12.6", "540.4.0", "6 (L4T 36.4.0)")


@pytest.mark.usefixtures("on_a_jetson")
def test_timings_that_cannot_be_kept_cost_no_plan(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cache, plan = tmp_path / "file" / "timings", tmp_path / "part.plan"
    build_plan(Path("part.onnx"), plan, runtime="tensorrt", timing_cache=cache)
    assert plan.read_bytes() == b"compiled"
    assert f"{cache}: the timings cannot be kept (" in caplog.text


@pytest.mark.parametrize(
    ("creates", "message"),
    [
        (False, "cannot create a builder: .*out of memory.*edge-ad doctor"),
        (True, "10.3.0 cannot build part.onnx: .*out of memory. Close other programs on the GPU"),
    ],
)
def test_a_gpu_that_is_full_is_said_to_be(
    on_a_jetson: TensorRT, tmp_path: Path, *, creates: bool, message: str
) -> None:
    make = on_a_jetson.Builder(None)
    make.build_serialized_network = lambda network, config: None

    def create(logger: object) -> Any:
        if creates:
            return make
        raise TypeError("factory function returned nullptr")

    on_a_jetson.Builder = create
    with pytest.raises(IncompatibleError, match=message):
        build_plan(Path("part.onnx"), tmp_path / "part.plan", runtime="tensorrt")
    assert not list(tmp_path.iterdir())
