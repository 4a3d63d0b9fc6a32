"""`build --precision auto`: real plans with simulated timings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_ad.engine import Engine, ScriptedEngine
from edge_ad.errors import GateFailed
from edge_ad.export.plan import auto as build_auto
from edge_ad.export.plan.auto import PlanComparison, Plans
from edge_ad.files import sha256
from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.manifest import Manifest, Provenance
from edge_ad.onnx_graph.load import set_manifest
from edge_ad.plan_record import NoGpu, TargetGpu
from edge_ad.precision import Precision
from edge_ad.sidecar import load_sidecar
from tests.conftest import store_threshold
from tests.export.models import run
from tests.export.plan.plan_graphs import graph, saved

RTX_4090 = TargetGpu("NVIDIA GeForce RTX 4090", "8.9", "13.0", "580.95.05", 24_000)
AUTO = ("--precision", "auto", "--runtime", "tensorrt-rtx")


@pytest.fixture
def fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return saved(graph(), Path("part.onnx"))


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a GPU that runs fp16 in half of fp32's time, and int8 only slightly faster."""
    times: dict[Precision, float] = {"fp32": 2.0, "fp16": 1.0, "int8": 0.98}
    monkeypatch.setattr(build_auto, "gpu_here", lambda: RTX_4090)

    def compare_on_gpu(plans: Plans) -> PlanComparison:
        assert all(path.is_file() for path in plans.values())
        return PlanComparison({name: times[name] for name in plans}, {})

    monkeypatch.setattr(build_auto, "compare_on_gpu", compare_on_gpu)


@pytest.mark.usefixtures("on_a_gpu")
def test_the_fastest_plan_is_kept_and_its_gain_reported(
    fp32: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    assert run("convert", fp32, "--precision", "fp16") == 0
    store_threshold(Path("part.fp16.onnx"), 0.25)
    capsys.readouterr()
    assert run("build", fp32, *AUTO, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["comparison"]["winner"] == "fp16"
    assert printed["comparison"]["times_faster_than_fp32"] == 2.0
    (missing,) = printed["comparison"]["missing"]
    assert "no part.int8.onnx" in missing
    assert "edge-ad calibrate part.onnx --images GOOD_DIR --target tensorrt" in missing
    sidecar = load_sidecar(Path("part.plan"))
    assert sidecar is not None and sidecar.manifest is not None and sidecar.build is not None
    assert (sidecar.manifest.precision, sidecar.build.onnx) == ("fp16", "part.fp16.onnx")
    assert sidecar.threshold is not None and sidecar.threshold.image == 0.25
    left = {path.name for path in Path().iterdir() if ".report" not in path.name}
    assert left == {
        "part.onnx",
        "part.fp16.onnx",
        "part.fp16.onnx.yaml",
        "part.plan",
        "part.plan.yaml",
    }


@pytest.mark.usefixtures("on_a_gpu")
def test_files_that_were_made_from_another_one_are_left_out(
    fp32: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    saved(graph(), Path("part.fp16.onnx"))
    Path("part.int8.onnx").write_bytes(b"nothing")
    assert run("build", fp32, *AUTO) == 0
    printed = capsys.readouterr().out
    assert "fastest: fp32, 1.00 times as fast as fp32" in printed
    assert "part.fp16.onnx was made from another file" in printed
    assert "part.int8.onnx is not readable" in printed


@pytest.mark.parametrize(("target", "found"), [("tensorrt", True), ("onnxruntime", False)])
def test_int8_for_another_runtime_is_left_out(fp32: Path, target: str, *, found: bool) -> None:
    provenance = Provenance(parent_sha256=sha256(fp32), notes={"int8 target": target})
    model = graph()
    set_manifest(model, Manifest(method="small", size_hw=(32, 32), precision="int8",
                                 provenance=provenance))  # fmt: skip
    saved(model, Path("part.int8.onnx"))
    candidates = build_auto.find_precisions(fp32)
    assert ("int8" in candidates.files) is found
    assert found or "calibrated for ONNX Runtime" in candidates.missing[1]


def test_without_a_gpu_auto_is_refused(
    fp32: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build_auto, "gpu_here", lambda: NoGpu("no NVIDIA driver"))
    assert run("build", fp32, *AUTO) == 3
    message = capsys.readouterr().err
    assert "measures on the GPU that will run the plan, and here no NVIDIA driver" in message
    assert "edge-ad build part.fp16.onnx" in message
    assert [path.name for path in Path().iterdir()] == ["part.onnx"]


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["fp16.onnx", *AUTO], 2, "starts from the fp32 file"),
        (["none.onnx", *AUTO], 2, "cannot read none.onnx"),
        (["part.onnx", "-o", "part.engine", *AUTO], 2, "ends in .plan"),
        (["part.onnx", "--precision", "fp16"], 2, "auto"),
    ],
    ids=["not fp32", "missing", "name", "a precision by name"],
)
@pytest.mark.usefixtures("fp32")
def test_wrong_arguments_are_refused(
    words: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fp16 = graph()
    set_manifest(fp16, Manifest(method="small", size_hw=(32, 32), precision="fp16"))
    saved(fp16, Path("fp16.onnx"))
    assert run("build", *words) == code
    assert text in capsys.readouterr().err


class ScaledEngine(ScriptedEngine):
    """An engine whose map is the green channel times a factor."""

    def __init__(self, precision: Precision, factor: float) -> None:
        def scaled(image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            return np.asarray(image[:, :, 1] / 255 * factor, np.float32)

        super().__init__(map_of=scaled)
        self.manifest = Manifest(method="small", size_hw=(32, 32), precision=precision)


def compared(monkeypatch: pytest.MonkeyPatch, **factors: float) -> PlanComparison:
    engines: dict[str, Engine] = {
        name: ScaledEngine(name, factor)  # type: ignore[arg-type]  # keywords are words
        for name, factor in factors.items()
    }
    monkeypatch.setattr(build_auto, "open_engine", lambda path: engines[str(path)])
    plans: dict[Precision, Path] = {name: Path(name) for name in factors}  # type: ignore[misc]
    return build_auto.compare_on_gpu(plans)


def test_a_plan_with_other_outputs_cannot_win(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = compared(monkeypatch, fp32=1.0, fp16=1.001, int8=3.0)
    assert set(comparison.ms) == {"fp32", "fp16", "int8"} and min(comparison.ms.values()) > 0
    assert set(comparison.problems) == {"int8"}
    assert "int8 is excluded: on 8 frames maps differ" in str(comparison)
    nan = compared(monkeypatch, fp32=1.0, fp16=float("nan"), int8=3.0)
    assert (nan.winner, set(nan.problems)) == ("fp32", {"fp16", "int8"})


@pytest.mark.parametrize(
    ("batch", "tiles", "timed"), [(1, (1, 1), 1), (4, (1, 1), 4), (None, (2, 3), 6)]
)
def test_as_many_images_are_timed_as_a_plan_takes_or_a_frame_has_tiles(
    monkeypatch: pytest.MonkeyPatch, batch: int | None, tiles: tuple[int, int], timed: int
) -> None:
    engine, lengths = ScaledEngine("fp32", 1.0), []
    engine.manifest = engine.manifest.replace(batch=batch, geometry=Geometry(tiles=tiles))

    def time_in_turn(engines: object, images: Image, runs: int) -> dict[str, float]:
        lengths.append(len(images))
        return {"fp32": 1.0}

    monkeypatch.setattr(build_auto, "open_engine", lambda path: engine)
    monkeypatch.setattr(build_auto, "time_in_turn", time_in_turn)
    build_auto.compare_on_gpu({"fp32": Path("part.plan")})
    assert lengths == [timed]


def test_an_fp32_plan_that_returns_nan_ends_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GateFailed, match="fp32 plan itself"):
        compared(monkeypatch, fp32=float("nan"))


def test_int8_must_beat_fp16_clearly() -> None:
    assert PlanComparison({"fp32": 2.0, "fp16": 1.0, "int8": 0.98}, {}).winner == "fp16"
    assert PlanComparison({"fp32": 2.0, "fp16": 1.0, "int8": 0.9}, {}).winner == "int8"
    assert (
        PlanComparison({"fp32": 2.0, "fp16": 1.0, "int8": 0.9}, {"int8": "wrong"}).winner == "fp16"
    )
