"""Plans compiled by the real TensorRT-RTX, which needs no GPU to build."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from edge_ad.engine import open_engine
from edge_ad.engine.tensorrt import preflight
from edge_ad.errors import IncompatibleError, OutletLost, UsageError
from edge_ad.export.plan.build import build_plan, choose_runtime
from edge_ad.files import sha256
from edge_ad.manifest import Manifest, Sidecar, Threshold
from edge_ad.plan_record import BuildOptions, Runtime, TargetGpu
from edge_ad.sidecar import load_sidecar, save_sidecar, set_threshold, sidecar_path
from tests.export.plan.plan_graphs import graph, saved, transposing_first
from tests.plan_records import RTX_4090

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: nothing to build with")

THRESHOLD = Threshold(image=0.5, pixel=0.4, false_alarm_rate=0.01, confidence=0.95, images=300)
RTX: Runtime = "tensorrt-rtx"


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    return saved(graph(), tmp_path / "part.onnx")


def test_a_plan_is_pure_and_its_sidecar_has_the_rest(onnx_file: Path) -> None:
    plan = onnx_file.with_suffix(".plan")
    built = build_plan(onnx_file, plan, runtime=RTX)
    assert plan.read_bytes()[:8].strip(b"\0").endswith(b"trt")  # TensorRT's magic bytes
    sidecar = load_sidecar(plan)
    assert sidecar == built.sidecar
    assert sidecar is not None
    build = sidecar.build
    assert build is not None
    assert sidecar.manifest == Manifest(method="small", size_hw=(32, 32))
    assert (build.runtime, build.onnx) == (RTX, "part.onnx")
    assert (build.onnx_sha256, build.plan_bytes) == (sha256(onnx_file), plan.stat().st_size)
    assert build.version.count(".") == 3
    assert build.created_utc.endswith("+00:00")
    assert sorted(path.name for path in onnx_file.parent.iterdir()) == [
        "part.onnx",
        "part.plan",
        "part.plan.yaml",
    ]


def test_a_changed_byte_is_refused(onnx_file: Path) -> None:
    plan = onnx_file.with_suffix(".plan")
    build_plan(onnx_file, plan, runtime=RTX)
    data = bytearray(plan.read_bytes())
    data[len(data) // 2] ^= 1
    plan.write_bytes(data)
    with pytest.raises(IncompatibleError, match=r"another engine.*edge-ad build"):
        open_engine(plan)


def test_a_truncated_plan_is_refused_by_its_length(onnx_file: Path) -> None:
    plan = onnx_file.with_suffix(".plan")
    build_plan(onnx_file, plan, runtime=RTX)
    plan.write_bytes(plan.read_bytes()[:1000])
    with pytest.raises(IncompatibleError, match="1000 bytes instead of"):
        open_engine(plan)


@pytest.mark.parametrize(
    ("old", "new", "gpu", "pattern"),
    [
        ("version: 1.", "version: 0.", RTX_4090, r"built by TensorRT-RTX 0\.\S+, here is 1\."),
        (
            "- '8.6'",
            "- '12.1'",
            RTX_4090,
            r"capability 12\.1, here is an NVIDIA .* with 8\.9",
        ),
        ("runtime: tensorrt-rtx", "runtime: tensorrt", RTX_4090, "TensorRT is not installed"),
    ],
    ids=["version", "capability", "runtime"],
)
def test_a_foreign_plan_is_refused(
    onnx_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
    gpu: TargetGpu,
    pattern: str,
) -> None:
    plan = onnx_file.with_suffix(".plan")
    build_plan(onnx_file, plan, BuildOptions(compute_capabilities=("8.6",)), runtime=RTX)
    text = sidecar_path(plan).read_text()
    assert old in text
    sidecar_path(plan).write_text(text.replace(old, new))
    monkeypatch.setattr(preflight, "gpu_here", lambda: gpu)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(IncompatibleError, match=rf"{pattern}.*edge-ad build {onnx_file}"):
        open_engine(plan)


def test_a_broken_body_is_refused_by_tensorrt_itself(
    onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files that were edited to agree are still checked by TensorRT."""
    from edge_ad.engine.tensorrt.program import load_program

    plan = onnx_file.with_suffix(".plan")
    sidecar = build_plan(onnx_file, plan, runtime=RTX).sidecar
    plan.write_bytes(b"no plan" * 100)
    save_sidecar(plan, sidecar.replace(engine_sha256=sha256(plan)))
    monkeypatch.setattr(preflight, "gpu_here", lambda: RTX_4090)
    with pytest.raises(IncompatibleError, match=r"does not load it.*edge-ad build"):
        load_program(preflight.check_plan(plan))


@pytest.mark.parametrize(
    ("model", "pattern"),
    [
        (
            graph(middle="z, i1, i2, i3 = Unique (y)"),
            r"node 'odd' \(Unique\): unsupported node\. Remove the operator",
        ),
        (transposing_first(), r"\(Transpose\): .*UInt8.*must go straight into a Cast"),
        (graph(sides="H,W"), r"dynamic \[1, N, N, 3\], expected 32 x 32.*fixed --size"),
        (
            graph(sides="64,64"),
            r"match the engine contract\. Expected image uint8 \[1, 32, 32, 3\]",
        ),
        (graph(score="score"), r"got .*score float32 \[1\]"),
    ],
    ids=["operator", "no cast", "dynamic size", "another size", "another name"],
)
def test_unsupported_graphs_are_refused_with_the_reason(
    tmp_path: Path, model: onnx.ModelProto, pattern: str
) -> None:
    path = saved(model, tmp_path / "part.onnx")
    with pytest.raises(IncompatibleError, match=pattern):
        build_plan(path, tmp_path / "part.plan", runtime=RTX)
    assert [file.name for file in tmp_path.iterdir()] == ["part.onnx"]


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        (BuildOptions(version_compatible=True), "no version-compatible plans"),
        (BuildOptions(hardware_compatible="ampere-plus"), "without --hardware-compatible"),
        (BuildOptions(dla_core=0), "does not support DLA"),
        (BuildOptions(compute_capabilities=("3.0",)), r"supports 7\.5, .*8\.9"),
        (BuildOptions(batch=(1, 2, 4)), "takes 1 images a call"),
    ],
    ids=["version", "hardware", "dla", "capability", "batch"],
)
def test_unsupported_options_are_refused(
    onnx_file: Path, options: BuildOptions, pattern: str
) -> None:
    with pytest.raises(UsageError, match=pattern):
        build_plan(onnx_file, onnx_file.with_suffix(".plan"), options, runtime=RTX)
    assert not onnx_file.with_suffix(".plan").exists()


def test_a_timing_cache_is_refused_where_nothing_is_timed(onnx_file: Path) -> None:
    plan = onnx_file.with_suffix(".plan")
    with pytest.raises(UsageError, match="times nothing"):
        build_plan(onnx_file, plan, runtime=RTX, timing_cache=onnx_file.parent / "cache")


def test_too_small_a_workspace_says_what_to_raise(onnx_file: Path) -> None:
    options = BuildOptions(workspace_mib=1)
    with pytest.raises(IncompatibleError, match="more than --workspace-mib 1"):
        build_plan(onnx_file, onnx_file.with_suffix(".plan"), options, runtime=RTX)


@pytest.mark.parametrize(
    ("batch", "expected", "manifest_batch"),
    [(None, (1, 1, 8), None), ((2, 3, 4), (2, 3, 4), None), ((4, 4, 4), (4, 4, 4), 4)],
    ids=["usual", "given", "fixed"],
)
def test_an_open_number_of_images_gets_a_profile(
    tmp_path: Path, batch: Any, expected: Any, manifest_batch: int | None
) -> None:
    path = saved(graph(batch=None), tmp_path / "part.onnx")
    built = build_plan(path, tmp_path / "part.plan", BuildOptions(batch=batch), runtime=RTX)
    assert built.sidecar.build is not None
    assert built.sidecar.manifest is not None
    assert built.sidecar.build.options.batch == expected
    assert built.sidecar.manifest.batch == manifest_batch


def test_options_that_rtx_has_reach_the_record(onnx_file: Path) -> None:
    options = BuildOptions(
        workspace_mib=256, optimization_level=5, compute_capabilities=("8.6", "12.0")
    )
    built = build_plan(onnx_file, onnx_file.with_suffix(".plan"), options, runtime=RTX)
    assert built.sidecar.build is not None
    assert built.sidecar.build.options == options


def test_the_threshold_comes_along_from_the_graph(onnx_file: Path) -> None:
    set_threshold(onnx_file, THRESHOLD)
    built = build_plan(onnx_file, onnx_file.with_suffix(".plan"), runtime=RTX)
    assert built.sidecar.threshold == THRESHOLD
    assert built.notes == ("threshold carried over from part.onnx",)


def test_a_rebuilt_plan_keeps_its_own_threshold(onnx_file: Path) -> None:
    plan = onnx_file.with_suffix(".plan")
    set_threshold(onnx_file, THRESHOLD)
    build_plan(onnx_file, plan, runtime=RTX)
    own = THRESHOLD.replace(image=0.7)
    set_threshold(plan, own)
    built = build_plan(onnx_file, plan, runtime=RTX)
    assert (built.sidecar.threshold, built.notes) == (
        own,
        ("threshold carried over from part.plan",),
    )


def test_a_plan_of_another_graph_does_not_pass_its_threshold_on(onnx_file: Path) -> None:
    plan = onnx_file.with_suffix(".plan")
    build_plan(onnx_file, plan, runtime=RTX)
    set_threshold(plan, THRESHOLD)
    saved(graph(middle="z = Tanh (y)"), onnx_file)
    built = build_plan(onnx_file, plan, runtime=RTX)
    assert built.sidecar.threshold is None
    assert "edge-ad threshold" in built.notes[0]


def test_a_threshold_of_other_bytes_is_not_carried_over(onnx_file: Path) -> None:
    save_sidecar(onnx_file, Sidecar(engine_sha256="0" * 64, threshold=THRESHOLD))
    built = build_plan(onnx_file, onnx_file.with_suffix(".plan"), runtime=RTX)
    assert built.sidecar.threshold is None


def test_a_plan_that_cannot_be_written_leaves_the_earlier_pair(
    onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = onnx_file.with_suffix(".plan")
    build_plan(onnx_file, plan, runtime=RTX)
    before = {path.name: path.read_bytes() for path in onnx_file.parent.iterdir()}

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge_ad.export.plan.build.save_sidecar", full)
    with pytest.raises(OutletLost, match=r"No space left.*edge-ad build"):
        build_plan(onnx_file, plan, BuildOptions(optimization_level=0), runtime=RTX)
    assert {path.name: path.read_bytes() for path in onnx_file.parent.iterdir()} == before


def test_another_name_than_plan_is_refused(onnx_file: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.plan"):
        build_plan(onnx_file, onnx_file.with_suffix(".engine"), runtime=RTX)


def test_without_a_gpu_the_runtime_is_the_one_that_needs_none() -> None:
    assert choose_runtime() == RTX


def test_progress_only_grows_and_names_phases(onnx_file: Path) -> None:
    reports: list[tuple[float, str]] = []
    build_plan(
        onnx_file,
        onnx_file.with_suffix(".plan"),
        runtime=RTX,
        on_progress=lambda share, phase: reports.append((share, phase)),
    )
    shares = [share for share, _ in reports]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1
    assert any("engine" in phase.lower() for _, phase in reports)


def test_ctrl_c_cancels_a_build_and_leaves_nothing(onnx_file: Path) -> None:
    steps = []

    def press(share: float, phase: str) -> None:
        steps.append(phase)
        if len(steps) == 1:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build_plan(onnx_file, onnx_file.with_suffix(".plan"), runtime=RTX, on_progress=press)
    assert len(steps) <= 3
    assert [path.name for path in onnx_file.parent.iterdir()] == ["part.onnx"]
    assert signal.getsignal(signal.SIGINT) is handler
