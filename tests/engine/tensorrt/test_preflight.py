"""Plans refused before TensorRT loads them. Needs no TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_ad.engine import open_engine
from edge_ad.engine.tensorrt import preflight
from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.files import sha256
from edge_ad.manifest import Manifest, Sidecar, Threshold
from edge_ad.plan_record import (
    BuildOptions,
    Machine,
    NoGpu,
    Runtime,
)
from edge_ad.sidecar import load_sidecar, save_sidecar, set_threshold, sidecar_path
from tests.plan_records import ORIN, RTX_4090, built, here

THRESHOLD = Threshold(image=0.5, pixel=0.4, false_alarm_rate=0.01, confidence=0.95, images=300)


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
    plan = make_plan(options=BuildOptions(version_compatible=True))
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
    set_threshold(plan, THRESHOLD.replace(image=0.7))
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
