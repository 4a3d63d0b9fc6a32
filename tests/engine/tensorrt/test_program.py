"""From a plan's file to answers, with TensorRT and the GPU fake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.engine import EngineOptions, ScriptedEngine, open_engine
from edge_ad.engine.tensorrt import plan as plan_module
from edge_ad.engine.tensorrt import preflight
from edge_ad.engine.tensorrt.plan import TensorRTEngine
from edge_ad.errors import EngineLost, IncompatibleError
from edge_ad.files import sha256
from edge_ad.manifest import Manifest, Sidecar
from edge_ad.plan_record import BuildOptions, BuildRecord, Runtime, TargetGpu
from edge_ad.sidecar import save_sidecar
from tests.engine.tensorrt.fake_cuda import FakeCuda
from tests.engine.tensorrt.fake_tensorrt import (
    DataType,
    EngineInvalidityDiagnostics,
    FakeTensorRT,
    Tensor,
    tensors,
)

GPU = TargetGpu("NVIDIA GeForce RTX 4090", "8.9", "13.0", "580.95.05", 24_000)
Open = Callable[..., TensorRTEngine]


@pytest.fixture
def cuda() -> FakeCuda:
    return FakeCuda()


@pytest.fixture
def open_fake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: FakeCuda
) -> Callable[[FakeTensorRT], TensorRTEngine]:
    """Return a function that opens a plan for this TensorRT and GPU."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(plan_module, "PyCuda", lambda: cuda)
    monkeypatch.setattr(preflight, "gpu_here", lambda: GPU)

    def opened(fake: FakeTensorRT, *, batch: int | None = 1, **options: Any) -> TensorRTEngine:
        runtime: Runtime = "tensorrt-rtx" if fake.rtx else "tensorrt"
        monkeypatch.setattr(preflight, "load", lambda name: fake.module())
        plan = write_plan(tmp_path / "part.plan", runtime, batch, options)
        engine = open_engine(plan, EngineOptions(**options))
        assert isinstance(engine, TensorRTEngine)
        return engine

    return opened


def write_plan(path: Path, runtime: Runtime, batch: int | None, options: dict[str, Any]) -> Path:
    path.write_bytes(b"what TensorRT would read")
    build = BuildRecord(
        runtime=runtime,
        version="10.3.0",
        onnx="part.onnx",
        onnx_sha256="0" * 64,
        plan_bytes=24,
        gpu=GPU.name,
        compute_capability="8.9",
        options=BuildOptions(version_compatible=options.get("trust_host_code", False)),
    )
    manifest = Manifest(method="green", size_hw=(32, 32), batch=batch)
    save_sidecar(path, Sidecar(engine_sha256=sha256(path), manifest=manifest, build=build))
    return path


def images_of(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


def assert_prediction(engine: TensorRTEngine, count: int) -> None:
    images = images_of(count)
    found, expected = engine.infer(images), ScriptedEngine().infer(images)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=1e-6)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)


@pytest.mark.parametrize("rtx", [False, True], ids=["TensorRT", "TensorRT-RTX"])
@pytest.mark.parametrize(
    ("batch", "first", "profile"),
    [(1, 1, (1, 1, 1)), (3, 3, (3, 3, 3)), (None, -1, (1, 2, 4)), (2, -1, (2, 2, 2))],
    ids=["one", "three", "free", "free, but built for two"],
)
def test_a_plan_answers(
    open_fake: Open,
    cuda: FakeCuda,
    batch: int | None,
    first: int,
    profile: tuple[int, int, int],
    *,
    rtx: bool,
) -> None:
    fake = FakeTensorRT(cuda, tensors(first), profile, rtx=rtx)
    with open_fake(fake, batch=batch) as engine:
        for count in (1, 2, 5):
            assert_prediction(engine, count)
    assert (cuda.held, cuda.graphs, cuda.closed) == (0, 0, 1)


def test_tensorrt_is_replayed_by_us_and_rtx_by_itself(open_fake: Open, cuda: FakeCuda) -> None:
    with open_fake(FakeTensorRT(cuda)) as engine:
        assert engine.graph == "replayed"
    assert "replay" in cuda.journal


def test_rtx_replays_by_itself_and_keeps_its_kernels(
    open_fake: Open, cuda: FakeCuda, tmp_path: Path
) -> None:
    first = FakeTensorRT(cuda, rtx=True)
    with open_fake(first) as engine:
        assert engine.graph == "replayed by TensorRT-RTX"
    assert first.calls == ["cache set", "WHOLE_GRAPH_CAPTURE"]
    (kept,) = (tmp_path / "cache" / "edge-ad").iterdir()
    assert kept.name.endswith("-10.3.0-sm8.9.kernels")
    second = FakeTensorRT(cuda, rtx=True)
    with open_fake(second):
        assert second.calls[0] == "kernels compiled"


def test_kernels_of_another_driver_are_replaced(
    open_fake: Open, cuda: FakeCuda, tmp_path: Path
) -> None:
    with open_fake(FakeTensorRT(cuda, rtx=True)):
        (kept,) = (tmp_path / "cache" / "edge-ad").iterdir()
    kept.write_bytes(b"stale")
    with open_fake(FakeTensorRT(cuda, rtx=True)):
        pass
    assert kept.read_bytes() == b"compiled"


def test_a_cache_folder_that_refuses_is_no_error(
    open_fake: Open, cuda: FakeCuda, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with open_fake(FakeTensorRT(cuda, rtx=True)) as engine:
        assert_prediction(engine, 1)
    assert "compiled again at each start" in caplog.text


@pytest.mark.parametrize("rtx", [False, True], ids=["TensorRT", "TensorRT-RTX"])
def test_graphs_can_be_left_out(open_fake: Open, cuda: FakeCuda, *, rtx: bool) -> None:
    fake = FakeTensorRT(cuda, rtx=rtx)
    with open_fake(fake, cuda_graph=False) as engine:
        assert engine.graph == "not asked for"
        assert_prediction(engine, 1)
    assert "replay" not in cuda.journal
    assert fake.calls == (["cache set", "DISABLED"] if rtx else [])


@pytest.mark.parametrize("trust", [False, True])
def test_code_in_plans_runs_only_for_those_who_trust_it(
    open_fake: Open, cuda: FakeCuda, *, trust: bool
) -> None:
    fake = FakeTensorRT(cuda)
    with open_fake(fake, trust_host_code=trust):
        assert fake.trusted is trust


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"refuses": "magic tag does not match"}, IncompatibleError, r"magic tag.*edge-ad build"),
        ({"refuses": "out of memory"}, EngineLost, "smaller --batch"),
        ({"no_runtime": True}, EngineLost, "cannot create a runtime.*error: 35"),
        ({"no_context": True}, EngineLost, "cannot create a context"),
        ({"fails": "set_input_shape"}, EngineLost, "set_input_shape.*out of memory"),
        ({"fails": "set_tensor_address"}, EngineLost, "set_tensor_address"),
        ({"fails": "execute_async_v3"}, EngineLost, "execute_async_v3"),
        (
            {"rtx": True, "invalid": int(EngineInvalidityDiagnostics.VERSION_MISMATCH)},
            IncompatibleError,
            "version mismatch.*edge-ad build",
        ),
        ({"rtx": True, "invalid": 64}, IncompatibleError, "header is not valid"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_tensorrt_refuses_is_reported_and_leaves_nothing(
    open_fake: Open, cuda: FakeCuda, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        open_fake(FakeTensorRT(cuda, **changes))
    assert (cuda.held, cuda.graphs, cuda.closed) == (0, 0, 1)


HALF_MAP: dict[str, Tensor] = {**tensors(), "anomaly_map": (DataType.HALF, (1, 32, 32))}
NO_SCORE = {name: tensor for name, tensor in tensors().items() if name != "anomaly_score"}


@pytest.mark.parametrize(
    "found",
    [HALF_MAP, NO_SCORE, tensors(side=64), tensors(batch=2), {"input": tensors()["image"]}],
    ids=["half map", "no score", "larger", "another batch", "foreign"],
)
def test_a_plan_that_breaks_the_contract_is_refused(
    open_fake: Open, cuda: FakeCuda, found: dict[str, Tensor]
) -> None:
    with pytest.raises(
        IncompatibleError, match=r"not match the engine contract\. Expected image.*got"
    ):
        open_fake(FakeTensorRT(cuda, found))
    assert cuda.held == 0


def test_a_plan_replaced_between_check_and_load_is_not_loaded(
    open_fake: Open, cuda: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replacing_card() -> FakeCuda:
        (tmp_path / "part.plan").write_bytes(b"another plan of the same name")
        return cuda

    monkeypatch.setattr(plan_module, "PyCuda", replacing_card)
    with pytest.raises(IncompatibleError, match="replaced while it was being opened"):
        open_fake(FakeTensorRT(cuda))
    assert (cuda.held, cuda.closed) == (0, 1)
