"""Plans that do not fit a machine, and the command that builds one that does. Needs no TensorRT."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from edge_ad.cli.build import command
from edge_ad.engine import open_engine
from edge_ad.engine.tensorrt import preflight
from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.files import sha256
from edge_ad.manifest import (
    Manifest,
    Sidecar,
    Threshold,
    load_sidecar,
    save_sidecar,
    set_threshold,
    sidecar_path,
)
from edge_ad.plan_record import (
    BuildOptions,
    BuildRecord,
    Machine,
    NoGpu,
    Runtime,
    TargetGpu,
    build_command,
    denied,
    differences,
    options_for,
)

ORIN = TargetGpu("Orin", "8.7", "12.6", "540.4.0", 30_000)
RTX_4090 = TargetGpu("NVIDIA GeForce RTX 4090", "8.9", "13.0", "580.95.05", 24_000)
RTX_2080 = TargetGpu("NVIDIA GeForce RTX 2080", "7.5", "13.0", "580.95.05", 8_000)
THRESHOLD = Threshold(image=0.5, pixel=0.4, false_alarm_rate=0.01, confidence=0.95, images=300)


def built(**changes: Any) -> BuildRecord:
    """Write a plan that TensorRT 10.3.0 built on an Orin."""
    usual: dict[str, Any] = {
        "runtime": "tensorrt",
        "version": "10.3.0",
        "onnx": "part.onnx",
        "onnx_sha256": "0" * 64,
        "plan_bytes": 7,
        "gpu": ORIN.name,
        "compute_capability": "8.7",
        "cuda": "12.6",
        "driver": "540.4.0",
    }
    return BuildRecord(**{**usual, **changes})


def here(
    gpu: TargetGpu | NoGpu = ORIN, version: str = "10.3.0", runtime: Runtime = "tensorrt"
) -> Machine:
    return Machine(runtime, version, gpu)


RTX: dict[str, Any] = {"runtime": "tensorrt-rtx", "version": "1.7.1", "compute_capability": ""}
PORTABLE = BuildOptions(version_compatible=True)
AMPERE = BuildOptions(hardware_compatible="ampere-plus")
SAME = BuildOptions(hardware_compatible="same-compute-capability")
OLDER_DRIVER = TargetGpu("Orin", "8.7", "12.2", "540.3.0", 30_000)


@pytest.mark.parametrize(
    ("build", "machine", "clauses"),
    [
        pytest.param(built(), here(), [], id="the machine that built it"),
        pytest.param(
            built(),
            here(version="10.16.0"),
            ["it was built by TensorRT 10.3.0, here is 10.16.0"],
            id="a newer version",
        ),
        pytest.param(
            built(),
            here(RTX_4090),
            [
                "it was built for compute capability 8.7 (Orin), "
                "here is an NVIDIA GeForce RTX 4090 with 8.9"
            ],
            id="another GPU",
        ),
        pytest.param(
            built(),
            here(OLDER_DRIVER),
            [
                "it was built under driver 540.4.0 for CUDA 12.6, here is 540.3.0 for CUDA 12.2: "
                "update the driver, or rebuild"
            ],
            id="an older driver",
        ),
        pytest.param(built(cuda="12.2"), here(), [], id="a newer driver"),
        pytest.param(built(cuda="12.10"), here(), ["driver"], id="minor versions are numbers"),
        pytest.param(
            built(),
            here(RTX_4090, "1.7.1", "tensorrt-rtx"),
            ["it was built by TensorRT, here is TensorRT-RTX", "compute capability 8.7"],
            id="another runtime",
        ),
        pytest.param(
            built(),
            here(NoGpu("no driver"), "10.4.0"),
            ["10.3.0, here is 10.4.0", "there is no GPU to run it (no driver)"],
            id="everything that differs is named",
        ),
        pytest.param(built(options=PORTABLE), here(version="10.16.0"), [], id="portable, newer"),
        pytest.param(
            built(options=PORTABLE), here(version="11.4.1"), [], id="portable, next major"
        ),
        pytest.param(
            built(options=PORTABLE),
            here(version="12.0.0"),
            ["even version-compatible"],
            id="too new",
        ),
        pytest.param(
            built(version="10.16.0", options=PORTABLE),
            here(version="10.3.0"),
            ["even version-compatible"],
            id="portable, but older here",
        ),
        pytest.param(built(options=AMPERE), here(RTX_4090), [], id="for ampere and later"),
        pytest.param(built(options=AMPERE), here(RTX_2080), ["8.0 or later"], id="before ampere"),
        pytest.param(built(options=SAME), here(RTX_4090), ["8.7"], id="another capability"),
        pytest.param(
            built(**RTX), here(RTX_4090, "1.7.1", "tensorrt-rtx"), [], id="RTX, a GPU of its range"
        ),
        pytest.param(
            built(**RTX),
            here(RTX_2080, "1.7.1", "tensorrt-rtx"),
            ["8.0 or later"],
            id="RTX, too old",
        ),
        pytest.param(
            built(**RTX, options=BuildOptions(compute_capabilities=("7.5", "8.6"))),
            here(RTX_4090, "1.7.1", "tensorrt-rtx"),
            ["built for compute capability 7.5, 8.6, here is an NVIDIA GeForce RTX 4090 with 8.9"],
            id="RTX, not a target",
        ),
        pytest.param(
            built(**RTX, options=BuildOptions(compute_capabilities=("7.5",))),
            here(RTX_2080, "1.7.1", "tensorrt-rtx"),
            [],
            id="RTX, a target",
        ),
        pytest.param(
            built(**{**RTX, "cuda": "13.1"}),
            here(RTX_4090, "1.7.1", "tensorrt-rtx"),
            [],
            id="RTX kernels are made where the plan is loaded",
        ),
    ],
)
def test_what_differs_is_named(build: BuildRecord, machine: Machine, clauses: list[str]) -> None:
    found = differences(build, machine)
    assert len(found) == len(clauses)
    for clause, expected in zip(found, clauses, strict=True):
        assert expected in clause


def parsed(command_line: str) -> dict[str, Any]:
    """Return what `edge-ad build` parses from a printed command."""
    words = shlex.split(command_line)
    assert words[:2] == ["edge-ad", "build"]
    context: click.Context = command.make_context("build", words[2:])
    return context.params


@pytest.mark.parametrize(
    "options",
    [
        BuildOptions(),
        BuildOptions(batch=(1, 4, 8), workspace_mib=512, optimization_level=5),
        BuildOptions(
            tf32=True, version_compatible=True, hardware_compatible="ampere-plus", dla_core=1
        ),
    ],
    ids=["none", "sizes", "compatible"],
)
def test_the_printed_command_has_the_options_of_the_build(options: BuildOptions) -> None:
    line = build_command(Path("my part.onnx"), Path("p.plan"), options, "tensorrt")
    words = parsed(line)
    assert (words["onnx"], words["output"]) == (Path("my part.onnx"), Path("p.plan"))
    assert words["runtime"] == "tensorrt"
    kept = {name: words[name] for name in BuildOptions.model_fields}
    assert BuildOptions(**kept) == options


def test_the_command_for_another_runtime_leaves_out_options_it_does_not_have() -> None:
    options = BuildOptions(version_compatible=True, dla_core=0, hardware_compatible="ampere-plus")
    words = parsed(build_command(Path("p.onnx"), Path("p.plan"), options, "tensorrt-rtx"))
    assert (
        BuildOptions(**{name: words[name] for name in BuildOptions.model_fields}) == BuildOptions()
    )
    targets = BuildOptions(compute_capabilities=("8.9", "12.0"))
    line = build_command(Path("p.onnx"), Path("p.plan"), targets, "tensorrt-rtx")
    assert parsed(line)["compute_capabilities"] == ("8.9", "12.0")
    assert "8.9" not in build_command(Path("p.onnx"), Path("p.plan"), targets, "tensorrt")


@pytest.mark.parametrize("gpu", [ORIN, RTX_4090, RTX_2080], ids=lambda gpu: gpu.name)
@pytest.mark.parametrize(
    "options",
    [BuildOptions(), AMPERE, BuildOptions(compute_capabilities=("8.6",)), PORTABLE],
    ids=["plain", "ampere", "targets", "portable"],
)
@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-rtx"])
def test_a_plan_built_with_the_printed_command_runs(
    runtime: Runtime, options: BuildOptions, gpu: TargetGpu
) -> None:
    """For any options of the first build, the printed command fits the GPU of this machine."""
    machine = Machine(runtime, "1.7.1", gpu)
    rebuilt = built(
        runtime=runtime,
        version="1.7.1",
        compute_capability=gpu.compute_capability,
        cuda=gpu.cuda,
        options=BuildOptions(
            **{
                name: value
                for name, value in parsed(
                    build_command(
                        Path("p.onnx"),
                        Path("p.plan"),
                        options_for(built(options=options), machine),
                        runtime,
                    )
                ).items()
                if name in BuildOptions.model_fields
            }
        ),
    )
    assert differences(rebuilt, machine) == []


MakePlan = Callable[..., Path]


@pytest.fixture
def make_plan(tmp_path: Path) -> MakePlan:
    def make(**changes: Any) -> Path:
        plan = tmp_path / "part.plan"
        plan.write_bytes(b"tensors")
        save_sidecar(
            plan,
            Sidecar(
                engine_sha256=sha256(plan),
                threshold=THRESHOLD,
                manifest=Manifest(method="destseg", size_hw=(32, 48)),
                build=built(**changes),
            ),
        )
        return plan

    return make


def play(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    """Let preflight see this machine."""
    monkeypatch.setattr(preflight, "gpu_here", lambda: machine.gpu)

    def load(runtime: Runtime) -> Any:
        if runtime != machine.runtime:
            raise IncompatibleError(f"{runtime} is not installed.")
        return SimpleNamespace(__version__=machine.version)

    monkeypatch.setattr(preflight, "load", load)
    monkeypatch.setattr(preflight, "installed", lambda: {machine.runtime: machine.version})


def test_a_plan_that_fits_is_cleared(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan()
    play(monkeypatch, here())
    checked = preflight.check_plan(plan)
    assert checked.manifest.size_hw == (32, 48)
    assert (checked.sha256, checked.gpu) == (sha256(plan), ORIN)


def test_without_a_gpu_no_build_is_advised(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan()
    play(monkeypatch, here(NoGpu("no driver")))
    with pytest.raises(
        IncompatibleError, match=r"there is no GPU to run it \(no driver\)"
    ) as error:
        open_engine(plan)
    assert "on other machines run part.onnx" in str(error.value)
    assert "edge-ad build" not in str(error.value)


@pytest.mark.parametrize(
    ("machine", "what", "fix"),
    [
        (here(version="10.16.0"), "10.3.0, here is 10.16.0", "--runtime tensorrt"),
        (here(RTX_4090), "compute capability 8.7", "--runtime tensorrt"),
        (
            here(RTX_4090, "1.7.1", "tensorrt-rtx"),
            "this machine has TensorRT-RTX 1.7.1",
            "tensorrt-rtx",
        ),
    ],
    ids=["version", "capability", "runtime"],
)
def test_a_foreign_plan_is_refused_with_the_command_that_fixes_it(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch, machine: Machine, what: str, fix: str
) -> None:
    plan = make_plan()
    play(monkeypatch, machine)
    with pytest.raises(IncompatibleError) as caught:
        open_engine(plan)
    text = str(caught.value)
    assert what in text
    assert f"edge-ad build {plan.with_suffix('.onnx')} -o {plan}" in text
    assert fix in text
    assert caught.value.exit_code == 3


def test_a_plan_with_code_in_it_is_loaded_only_on_request(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(options=PORTABLE)
    play(monkeypatch, here(version="10.7.0"))
    with pytest.raises(IncompatibleError, match="--trust-host-code"):
        open_engine(plan)
    assert preflight.check_plan(plan, trust_host_code=True).build.options.version_compatible


def test_a_plan_without_its_sidecar_says_how_to_make_one(make_plan: MakePlan) -> None:
    plan = make_plan()
    sidecar_path(plan).unlink()
    with pytest.raises(
        IncompatibleError, match=r"sidecar part\.plan\.yaml is missing.*edge-ad build .*part\.onnx"
    ):
        open_engine(plan)


def test_a_threshold_alone_is_no_sidecar_of_a_plan(make_plan: MakePlan) -> None:
    plan = make_plan()
    save_sidecar(plan, Sidecar(engine_sha256=sha256(plan), threshold=THRESHOLD))
    with pytest.raises(IncompatibleError, match=r"sidecar part\.plan\.yaml is missing"):
        open_engine(plan)


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"tensorS", "sha256"), (b"ten", "3 bytes instead of 7"), (b"", "0 bytes instead of 7")],
    ids=["a changed byte", "cut off", "empty"],
)
def test_other_bytes_than_the_sidecars_are_refused(
    make_plan: MakePlan, content: bytes, what: str
) -> None:
    plan = make_plan()
    plan.write_bytes(content)
    with pytest.raises(IncompatibleError, match=f"{what}.*edge-ad build"):
        open_engine(plan)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "- 1",
        "a: [",
        "\0",
        "engine_sha256: 12",
        "engine_sha256: x\nunknown: 1",
        "engine_sha256: x\nbuild: {runtime: openvino}",
        "engine_sha256: x\nthreshold: {image: .nan}",
    ],
)
def test_a_sidecar_with_invalid_content_is_named_with_the_fix(
    make_plan: MakePlan, text: str
) -> None:
    plan = make_plan()
    sidecar_path(plan).write_text(text)
    with pytest.raises(IncompatibleError, match=r"part\.plan\.yaml.*edge-ad build"):
        open_engine(plan)


def test_a_missing_plan_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"edge-ad build .*part\.onnx -o .*part\.plan"):
        open_engine(tmp_path / "part.plan")


def test_a_new_threshold_leaves_the_record_of_the_build(make_plan: MakePlan) -> None:
    plan = make_plan()
    before = load_sidecar(plan)
    set_threshold(plan, THRESHOLD.model_copy(update={"image": 0.7}))
    after = load_sidecar(plan)
    assert before is not None
    assert after is not None
    assert after.threshold is not None
    assert after.threshold.image == 0.7
    assert (after.build, after.manifest) == (before.build, before.manifest)


def test_a_threshold_is_not_written_beside_a_plan_that_was_replaced(make_plan: MakePlan) -> None:
    plan = make_plan()
    plan.write_bytes(b"another")
    with pytest.raises(IncompatibleError, match="another engine"):
        set_threshold(plan, THRESHOLD)


def test_a_threshold_replaces_a_stale_sidecar_of_a_graph(make_engine: Callable[..., Path]) -> None:
    engine = make_engine()
    engine.write_bytes(engine.read_bytes() + b"\0")
    set_threshold(engine, THRESHOLD)
    found = load_sidecar(engine)
    assert found is not None
    assert found.threshold == THRESHOLD


def test_a_sidecar_may_hold_neither_threshold_nor_build(make_engine: Callable[..., Path]) -> None:
    engine = make_engine(threshold=None)
    sidecar_path(engine).write_text(f"schema_version: 1\nengine_sha256: {sha256(engine)}\n")
    found = load_sidecar(engine)
    assert found is not None
    assert found.build is None


def test_bad_versions_are_denied_with_a_reason() -> None:
    assert "libnvinfer_builder_resource_win" in denied("tensorrt", "10.2.0")
    assert denied("tensorrt", "10.3.0") == ""
