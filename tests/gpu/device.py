"""What the tests on a card share: the card or the reason to skip, plans for it, its free memory."""

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
def card() -> TargetGpu:
    """The card under test; without one, or without what drives it, the test is skipped."""
    gpu = gpu_here()
    if isinstance(gpu, NoGpu):
        pytest.skip(f"needs an NVIDIA card: {gpu.reason}")
    if not installed():
        pytest.skip("needs TensorRT or TensorRT-RTX")
    try:
        PyCuda().close()
    except EdgeAdError as error:
        pytest.skip(f"needs PyCUDA: {error}")
    return gpu


@pytest.fixture(scope="session", params=["tensorrt", "tensorrt-rtx"])
def runtime(request: pytest.FixtureRequest, card: TargetGpu) -> Runtime:
    """Every runtime that is installed, in turn."""
    chosen: Runtime = request.param
    if chosen not in installed():
        pytest.skip(f"{chosen} is not installed")
    return chosen


@pytest.fixture
def make_plan(runtime: Runtime, tmp_path: Path) -> MakePlan:
    """Builds a plan whose map is the green channel over 255; batch None takes 1 to 8 images."""

    def make(
        batch: int | None = 1, options: BuildOptions | None = None, name: str = "green"
    ) -> Path:
        onnx = ENGINES / f"green-32-b{batch or 'any'}.onnx"
        plan = tmp_path / f"{name}.plan"
        return build_plan(onnx, plan, options or BuildOptions(), runtime=runtime).plan

    return make


@pytest.fixture
def free_mib(card: TargetGpu) -> Callable[[], float]:
    """How much of the card's memory is free."""
    cuda = PyCuda()

    def free() -> float:
        from pycuda import driver

        with cuda.current():
            return int(driver.mem_get_info()[0]) / 2**20

    return free
