"""Fixtures of the tests on a GPU: the GPU or the reason to skip, plans for it, its free memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_ad.engine.tensorrt.preflight import gpu_here
from edge_ad.engine.tensorrt.pycuda import PyCuda
from edge_ad.engine.tensorrt.runtimes import installed
from edge_ad.errors import EdgeAdError
from edge_ad.export.plan.build import build_plan
from edge_ad.plan_record import BuildOptions, NoGpu, Runtime, TargetGpu

ENGINES = Path(__file__).resolve().parent.parent / "engines"
MakePlan = Callable[..., Path]


@pytest.fixture(scope="session")
def gpu() -> TargetGpu:
    """Return the GPU under test; skip without one, or without its software."""
    gpu = gpu_here()
    if isinstance(gpu, NoGpu):
        pytest.skip(f"needs an NVIDIA GPU: {gpu.reason}")
    if not installed():
        pytest.skip("needs TensorRT or TensorRT-RTX")
    try:
        PyCuda().close()
    except EdgeAdError as error:
        pytest.skip(f"needs PyCUDA: {error}")
    return gpu


@pytest.fixture(scope="session", params=["tensorrt", "tensorrt-rtx"])
def runtime(request: pytest.FixtureRequest, gpu: TargetGpu) -> Runtime:
    """Return each installed runtime in turn."""
    chosen: Runtime = request.param
    if chosen not in installed():
        pytest.skip(f"{chosen} is not installed")
    return chosen


@pytest.fixture
def make_plan(runtime: Runtime, tmp_path: Path) -> MakePlan:
    """Return a function that builds a plan of the green engine; batch None takes 1 to 8 images."""

    def make(
        batch: int | None = 1, options: BuildOptions | None = None, name: str = "green"
    ) -> Path:
        onnx = ENGINES / f"green-32-b{batch or 'any'}.onnx"
        plan = tmp_path / f"{name}.plan"
        return build_plan(onnx, plan, options or BuildOptions(), runtime=runtime).plan

    return make


@pytest.fixture
def free_mib(gpu: TargetGpu) -> Callable[[], float]:
    """Return a function that measures the GPU's free memory in MiB."""
    cuda = PyCuda()

    def free() -> float:
        from pycuda import driver

        with cuda.current():
            return int(driver.mem_get_info()[0]) / 2**20

    return free
