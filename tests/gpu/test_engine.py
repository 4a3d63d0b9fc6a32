"""Plans on a real GPU: building, running, parity, memory, failures and reopening."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.engine import Batcher, Engine, EngineOptions, open_engine
from edge_ad.engine.base import Prediction
from edge_ad.engine.tensorrt.cuda import CudaError
from edge_ad.engine.tensorrt.plan import TensorRTEngine, open_plan
from edge_ad.engine.tensorrt.pycuda import PyCuda
from edge_ad.errors import EngineLost, IncompatibleError
from edge_ad.frame import Image
from edge_ad.manifest import Threshold
from edge_ad.plan_record import BuildOptions, Runtime, TargetGpu
from edge_ad.sidecar import set_threshold

pytest_plugins = ("tests.gpu.device",)
pytestmark = pytest.mark.gpu

ENGINES = Path(__file__).resolve().parent.parent / "engines"
MakePlan = Callable[..., Path]

INFERENCES = 10_000
LOADS = 50
# Context, modules and pools of the driver settle within the first loads; growth beyond is a leak.
SLACK_MIB = 8.0


def images_of(count: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


def expected(images: Image) -> Prediction:
    """Return the prediction of ONNX Runtime on the CPU."""
    with open_engine(ENGINES / "green-32-bany.onnx") as engine:
        return engine.infer(images)


def assert_parity(found: Prediction, images: Image) -> None:
    """fp32 on both sides; the GPU may divide with one bit less."""
    reference = expected(images)
    np.testing.assert_allclose(found.maps, reference.maps, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.scores, reference.scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("graph", [True, False], ids=["replayed", "launched"])
@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("count", [1, 2, 8, 19])
def test_a_plan_predicts_what_onnx_runtime_predicts(
    make_plan: MakePlan, batch: int | None, count: int, *, graph: bool
) -> None:
    with open_plan(make_plan(batch), EngineOptions(cuda_graph=graph)) as engine:
        for seed in range(4):  # plain, captured, replayed
            images = images_of(count, seed)
            assert_parity(engine.infer(images), images)


def test_launches_are_replayed(make_plan: MakePlan, runtime: Runtime) -> None:
    if runtime == "tensorrt":
        pytest.importorskip("cuda", reason="cuda-python is not installed: nothing captures graphs")
    with open_plan(make_plan()) as engine:
        assert engine.graph.startswith("replayed")


def test_two_batches_in_flight_keep_their_order(make_plan: MakePlan) -> None:
    batches = [images_of(1 + seed % 3, seed) for seed in range(40)]
    found = []
    with open_plan(make_plan(None)) as engine:
        for batch in batches:
            engine.submit(batch)
            if engine.pending > 1:
                found.append(engine.collect())
        while engine.pending:
            found.append(engine.collect())
    for prediction, batch in zip(found, batches, strict=True):
        assert_parity(prediction, batch)


def test_two_engines_share_the_card(make_plan: MakePlan) -> None:
    first, second = open_plan(make_plan(1, name="a")), open_plan(make_plan(3, name="b"))
    with first, second:
        for seed in range(20):
            images = images_of(3, seed)
            assert_parity(first.infer(images), images)
            assert_parity(second.infer(images), images)
        first.close()
        assert_parity(second.infer(images), images)


@pytest.mark.parametrize("batch", [3, None])
def test_cameras_in_threads_share_a_plan(make_plan: MakePlan, batch: int | None) -> None:
    def run(client: Engine, camera: int) -> None:
        for number in range(50):
            images = images_of(1 + camera, camera * 100 + number)
            assert_parity(client.infer(images), images)

    with open_plan(make_plan(batch)) as engine, ThreadPoolExecutor(3) as pool:
        batcher = Batcher(engine)
        futures = [pool.submit(run, batcher.client(), camera) for camera in range(3)]
        for future in futures:
            future.result(timeout=60)


def test_ten_thousand_inferences_take_no_memory(
    make_plan: MakePlan, free_mib: Callable[[], float]
) -> None:
    with open_plan(make_plan()) as engine:
        images = images_of(1)
        for _ in range(100):
            engine.infer(images)
        free, host = free_mib(), resident_mib()
        for _ in range(INFERENCES):
            engine.infer(images)
        assert free - free_mib() <= SLACK_MIB
        assert resident_mib() - host <= SLACK_MIB


def test_fifty_loads_take_no_memory(make_plan: MakePlan, free_mib: Callable[[], float]) -> None:
    plan, images = make_plan(), images_of(1)
    free = 0.0
    for number in range(LOADS):
        with open_plan(plan) as engine:
            assert_parity(engine.infer(images), images)
        if number == 4:
            free = free_mib()
    assert free - free_mib() <= SLACK_MIB


def test_the_networks_gpu_time_is_measured(make_plan: MakePlan) -> None:
    with open_plan(make_plan()) as engine:
        engine.infer(images_of(1))
        assert 0 < engine.gpu_times.compute_ms < 1000


@pytest.mark.parametrize("call", ["upload", "download"])
def test_an_engine_that_failed_can_be_opened_again(
    make_plan: MakePlan,
    monkeypatch: pytest.MonkeyPatch,
    free_mib: Callable[[], float],
    call: str,
) -> None:
    plan = make_plan()
    open_plan(plan).close()
    before = free_mib()
    engine = open_plan(plan)

    def fail(*arguments: object) -> None:
        raise CudaError(f"{call} failed: injected")

    with monkeypatch.context() as patch:
        patch.setattr(PyCuda, call, fail)
        with pytest.raises(EngineLost, match="injected"):
            engine.infer(images_of(1))
    with pytest.raises(EngineLost, match="is closed"):
        engine.infer(images_of(1))
    assert before - free_mib() <= SLACK_MIB
    with open_plan(plan) as again:
        assert_parity(again.infer(images_of(1)), images_of(1))


def test_a_full_gpu_is_reported_and_nothing_stays_allocated(
    make_plan: MakePlan, free_mib: Callable[[], float]
) -> None:
    plan = make_plan()
    open_plan(plan).close()
    hog = PyCuda()
    with hog.current():
        fill(hog)
    try:
        with pytest.raises(EngineLost, match="GPU failed"):
            open_plan(plan)
    finally:
        hog.close()
    with open_plan(plan) as engine:
        assert_parity(engine.infer(images_of(1)), images_of(1))


ILLEGAL = """
import sys
from pathlib import Path
import numpy as np
from edge_ad.cli import main
from edge_ad.engine.tensorrt import program
bind = program.PlanProgram.bind
def astray(self, images, maps, scores):
    bind(self, 64, maps, scores)
program.PlanProgram.bind = astray
sys.argv = ["edge-ad", "run", "--camera", "pattern://?frames=3", "--engine", sys.argv[1]]
main()
"""


def test_an_illegal_address_ends_the_process_with_our_error(make_plan: MakePlan) -> None:
    """In a separate process: after such an error nothing works on the GPU in this one."""
    plan = make_plan()
    set_threshold(plan, THRESHOLD)
    ended = subprocess.run(
        [sys.executable, "-c", ILLEGAL, str(plan)], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 1, ended.stderr
    assert "the GPU failed" in ended.stderr
    assert "Traceback" not in ended.stderr


THRESHOLD = Threshold(image=0.9, pixel=0.9, false_alarm_rate=0.01, confidence=0.95, images=300)


def test_the_command_line_runs_a_plan(make_plan: MakePlan) -> None:
    plan = make_plan()
    set_threshold(plan, THRESHOLD)
    words = ["run", "--camera", "pattern://?frames=20", "--engine", str(plan), "--json"]
    ended = subprocess.run(
        [sys.executable, "-m", "edge_ad", *words], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count('"inspection"') == 20


def test_a_plan_for_another_gpu_is_refused(
    make_plan: MakePlan, runtime: Runtime, gpu: TargetGpu
) -> None:
    if runtime != "tensorrt-rtx":
        pytest.skip("TensorRT builds for the GPU that is there")
    other = "7.5" if gpu.compute_capability != "7.5" else "8.6"
    plan = make_plan(1, BuildOptions(compute_capabilities=(other,)))
    with pytest.raises(IncompatibleError, match=f"built for compute capability {other}"):
        open_plan(plan)


def test_timing_caches_and_version_compatible_plans(
    make_plan: MakePlan, runtime: Runtime, tmp_path: Path
) -> None:
    """Both exist in TensorRT only."""
    if runtime != "tensorrt":
        pytest.skip("TensorRT-RTX has neither timing caches nor version-compatible plans")
    from edge_ad.export.plan.build import build_plan

    cache = tmp_path / "timings"
    cache.mkdir()
    onnx, plan = ENGINES / "green-32-b1.onnx", tmp_path / "portable.plan"
    options = BuildOptions(version_compatible=True)
    for _ in range(2):
        build_plan(onnx, plan, options, runtime=runtime, timing_cache=cache)
    assert len(list(cache.iterdir())) == 1
    with pytest.raises(IncompatibleError, match="--trust-host-code"):
        open_plan(plan)
    with open_plan(plan, EngineOptions(trust_host_code=True)) as engine:
        assert_parity(engine.infer(images_of(1)), images_of(1))


def resident_mib() -> float:
    """Return the peak host memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fill(cuda: Any) -> None:
    """Allocate the GPU's memory, in blocks that halve until a megabyte fails."""
    size = 1 << 34
    while size >= 1 << 20:
        try:
            cuda.memory(size)
        except CudaError:
            size //= 2


def test_open_engine_opens_plans(make_plan: MakePlan) -> None:
    with open_engine(make_plan()) as engine:
        assert isinstance(engine, TensorRTEngine)
        assert engine.manifest.size_hw == (32, 32)
