"""Installing bundles: what is installed, what is refused, and that the running line stays."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_ad.bundle.health import read_status
from edge_ad.bundle.install import roll_back
from edge_ad.bundle.manifest import DEVICE_LINE, SelfTest, Target
from edge_ad.bundle.plans import BUILT
from edge_ad.bundle.self_test import SelfTestResult
from edge_ad.bundle.signing import new_key
from edge_ad.bundle.state import BundleFolder
from edge_ad.errors import DataError, GateFailed, IncompatibleError, UsageError
from tests.bundle.conftest import Workshop, trusting

ROLLBACK_STEPS = ("note", "switch", "finish")


def test_an_installed_version_is_current_and_whole(workshop: Workshop) -> None:
    result = workshop.install(workshop.bundle(1))
    folder, files = workshop.running()
    assert folder == result.state.current and folder.startswith("1-")
    assert files["green.onnx"] == (workshop.staging / "green.onnx").read_bytes()
    assert result.tested is not None and result.tested.images == 2 and result.tested.worst < 1
    status = read_status(workshop.device, workshop.trust)
    assert status.problems == [] and status.notes == []
    assert status.current is not None and status.current.version == 1
    assert status.manifest == workshop.manifest(1)


def test_own_settings_that_the_line_file_does_not_have_yet_are_noted(workshop: Workshop) -> None:
    state = workshop.install(workshop.bundle(1)).state
    line = workshop.device / "versions" / state.current / DEVICE_LINE
    site = workshop.device / "site.yaml"
    site.write_text("cameras: []\n")
    os.utime(site, (1_000, 1_000))
    os.utime(line, (2_000, 2_000))
    assert read_status(workshop.device, workshop.trust).notes == []
    os.utime(site, (3_000, 3_000))
    (note,) = read_status(workshop.device, workshop.trust).notes
    assert note == f"site.yaml is newer than the line file; edge-ad bundle site {workshop.device}"


def test_the_version_before_is_kept_and_older_ones_are_removed(workshop: Workshop) -> None:
    for version in (1, 2, 3):
        state = workshop.install(workshop.bundle(version)).state
    kept = sorted(path.name[:2] for path in (workshop.device / "versions").iterdir())
    assert kept == ["2-", "3-"] and state.highest == 3 and state.previous.startswith("2-")


@pytest.mark.parametrize("name", ["incoming", "new", "parts", "versions/ours", "versions/2024"])
def test_no_file_of_people_is_removed(workshop: Workshop, name: str) -> None:
    image = workshop.device / name / "part.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"theirs")
    first = workshop.manifest(1).self_test.images[0].model_copy(update={"score": 0.3})
    failing = SelfTest(cameras=workshop.manifest(1).self_test.cameras, images=(first,))
    with pytest.raises(GateFailed):
        workshop.install(workshop.bundle(1, self_test=failing))
    for version in (1, 2, 3):
        workshop.install(workshop.bundle(version))
    assert image.read_bytes() == b"theirs"


def test_the_same_bundle_again_changes_nothing(workshop: Workshop) -> None:
    bundle = workshop.bundle(1)
    first = workshop.install(bundle)
    again = workshop.install(bundle)
    assert again.tested is None and again.state == first.state


def test_the_same_bundle_is_installed_again_on_request(workshop: Workshop) -> None:
    bundle = workshop.bundle(1)
    first = workshop.install(bundle).state
    again = workshop.install(bundle, again=True)
    assert again.tested is not None and again.state.previous == first.current
    assert read_status(workshop.device, workshop.trust).problems == []


def test_a_plan_takes_the_place_of_its_onnx_file(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[object] = []

    def build(folder: Path, names: Sequence[str], _: object) -> dict[str, str]:
        (folder / "green.plan").write_bytes(b"compiled")
        return {name: f"{BUILT}a GPU" for name in names}

    def judge(_: Path, __: SelfTest, engines: dict[str, str]) -> SelfTestResult:
        used.append(engines)
        return SelfTestResult(2, 0.0, 1.0)

    monkeypatch.setattr("edge_ad.bundle.install.build_plans", build)
    monkeypatch.setattr("edge_ad.bundle.install.run_self_test", judge)
    workshop.install(workshop.bundle(1, plans=("green.onnx",)))
    assert used == [{"green.onnx": "green.plan"}]
    assert workshop.running()[1]["green.plan"] == b"compiled"


def test_a_bundle_is_fetched_while_other_installs_are_kept_out(workshop: Workshop) -> None:
    def fetch() -> Path:
        with pytest.raises(UsageError, match="another install"):
            workshop.install(bundle)
        return bundle

    bundle = workshop.bundle(1)
    workshop.install(fetch)
    assert workshop.running()[0].startswith("1-")


def test_a_damaged_version_is_reported_and_installed_afresh(workshop: Workshop) -> None:
    bundle = workshop.bundle(1)
    workshop.install(bundle)
    (workshop.device / "current" / "green.onnx").write_bytes(b"gone")
    problems = read_status(workshop.device, None).problems
    assert len(problems) == 1 and "missing or changed: green.onnx" in problems[0]
    assert workshop.install(bundle).tested is not None
    assert read_status(workshop.device, None).problems == []


def test_rolling_back_returns_to_the_version_before_with_the_reason(workshop: Workshop) -> None:
    for version in (1, 2):
        workshop.install(workshop.bundle(version))
    state = roll_back(workshop.device, "rejects good parts", "maria")
    assert workshop.running()[0] == state.current and state.current.startswith("1-")
    removed = [one for one in state.history if one.removed_for]
    assert [(one.version, one.removed_for, one.removed_by) for one in removed] == [
        (2, "rejects good parts", "maria")
    ]
    with pytest.raises(UsageError, match="no version before the current one"):
        roll_back(workshop.device, "", "maria")


@pytest.mark.parametrize("name", ["green.onnx", "manifest.json", "run.yaml"])
def test_a_damaged_version_is_not_gone_back_to(name: str, workshop: Workshop) -> None:
    workshop.have_installed()
    workshop.install(workshop.bundle(2))
    (previous,) = workshop.device.glob("versions/1-*")
    (previous / name).unlink()
    before = workshop.running()
    with pytest.raises(DataError, match=f"the version before is damaged.*{name}"):
        roll_back(workshop.device, "rejects good parts", "maria")
    assert workshop.running() == before
    state = BundleFolder(workshop.device).load()
    assert state is not None and state.switch is None and state.previous == previous.name


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_version_or_one_taken_back_needs_a_person(
    workshop: Workshop, version: int
) -> None:
    old = workshop.bundle(version)
    for bundle in (workshop.bundle(1) if version == 2 else old, workshop.bundle(2)):
        workshop.install(bundle)
    if version == 2:
        roll_back(workshop.device, "rejects good parts", "maria")
    before = workshop.running()
    with pytest.raises(IncompatibleError, match="--allow-older"):
        workshop.install(old)
    assert workshop.running() == before
    state = workshop.install(old, allow_older=True).state
    assert state.highest == 2 and state.history[-1].older_allowed
    assert workshop.running()[0].startswith(f"{version}-")


def test_what_is_current_is_not_older(workshop: Workshop) -> None:
    first = workshop.bundle(1)
    workshop.install(first)
    workshop.install(workshop.bundle(2))
    roll_back(workshop.device, "bad", "test")
    assert workshop.install(first).tested is None
    assert workshop.install(first, again=True).tested is not None


def test_two_bundles_with_one_version_are_refused(workshop: Workshop) -> None:
    workshop.install(workshop.bundle(1))
    with pytest.raises(IncompatibleError, match="another bundle with that version"):
        workshop.install(workshop.bundle(1, note="another one"))


def past() -> str:
    return (datetime.now(timezone.utc) - timedelta(days=1)).isoformat()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"product": "bottles"}, "is the product bottles, here is plates"),
        ({"expires_utc": past()}, "has expired"),
        ({"target": Target(architecture="riscv64")}, "for the architecture riscv64"),
        ({"target": Target(machines=("line-*", "x"))}, r"for the machines line-\*, x"),
        (
            {"created_utc": "2999-01-01T00:00:00+00:00", "expires_utc": "3000-01-01T00:00:00"},
            "Set the clock",
        ),
    ],
)
def test_a_bundle_that_is_not_for_this_device_is_refused(
    workshop: Workshop, changes: dict[str, Any], message: str
) -> None:
    workshop.have_installed()
    before = workshop.running()
    with pytest.raises(IncompatibleError, match=message):
        workshop.install(workshop.bundle(2, **changes))
    assert workshop.running() == before


@pytest.mark.parametrize("name", ["created_utc", "expires_utc"])
def test_a_time_that_is_none_is_refused(workshop: Workshop, name: str) -> None:
    changes: dict[str, Any] = {name: "next year"}
    bundle = workshop.bundle(1, **changes)
    with pytest.raises(DataError, match=r"edgead: 'next year' in its manifest is not a time"):
        workshop.install(bundle)


def test_a_bundle_for_this_machine_is_installed(workshop: Workshop) -> None:
    here = os.uname()
    target = Target(architecture=here.machine, machines=("other", here.nodename[:3] + "*"))
    workshop.install(workshop.bundle(1, target=target, expires_utc="2999-01-01T00:00:00+00:00"))
    assert workshop.running()[0].startswith("1-")


def test_keys_are_rotated_by_signing_twice(workshop: Workshop) -> None:
    old, new = new_key(), new_key()
    both = workshop.bundle(1, [old, new])
    for key in (old, new):
        result = workshop.install(both, workshop.folder / str(key), trust=trusting(key.public))
        assert result.bundle.signers == ["key 0"]


@pytest.mark.parametrize("case", ["unknown", "revoked", "unsigned"])
def test_a_bundle_that_nobody_trusted_has_signed_is_refused(workshop: Workshop, case: str) -> None:
    key = new_key()
    trust = workshop.trust
    if case == "revoked":
        trust = trust.adding("lost", key.public).revoking(key.public.key_id, "laptop stolen")
    bundle = workshop.bundle(1, [] if case == "unsigned" else [key])
    expected = {"unknown": "not in the trust file", "revoked": "laptop stolen",
                "unsigned": "it has no signature"}  # fmt: skip
    with pytest.raises(IncompatibleError, match=expected[case]):
        workshop.install(bundle, trust=trust)
    assert workshop.running() == ("", {})
    if case == "revoked":  # the signature of another key suffices
        workshop.install(workshop.bundle(2, [key, workshop.key]), trust=trust)


@pytest.mark.parametrize("what", ["score", "verdict", "latency"])
def test_a_failed_self_test_leaves_the_version_before(workshop: Workshop, what: str) -> None:
    workshop.have_installed()
    before = workshop.running()
    test = workshop.manifest(2).self_test
    first = test.images[0]
    changes: dict[str, Any] = {"score": 0.3} if what == "score" else {}
    changes |= {"verdict": "REJECT"} if what == "verdict" else {}
    images = (first.model_copy(update=changes), *test.images[1:])
    latency_ms = 1e-6 if what == "latency" else None
    failing = SelfTest(cameras=test.cameras, images=images, latency_ms=latency_ms)
    with pytest.raises(GateFailed, match="the self-test failed"):
        workshop.install(workshop.bundle(2, self_test=failing))
    assert workshop.running() == before and not (workshop.device / "versions" / ".new").exists()


def test_the_median_latency_and_the_worst_score_are_reported(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = itertools.cycle((5.0, 5.010, 6.0, 6.030))  # 10 and 30 ms
    clock = SimpleNamespace(perf_counter=lambda: next(readings))
    monkeypatch.setattr("edge_ad.bundle.self_test.time", clock)
    first, *others = workshop.manifest(1).self_test.images
    off = first.model_copy(update={"score": first.score + 0.004})  # of a tolerance of 0.01
    changes = {"latency_ms": 20.1, "images": (off, *others)}
    test = workshop.manifest(1).self_test.model_copy(update=changes)
    tested = workshop.install(workshop.bundle(1, self_test=test)).tested
    assert tested is not None and tested.as_json() == {
        "images": 2, "worst_share_of_tolerance": 0.4, "latency_ms": 20.0,
    }  # fmt: skip
    faster = test.model_copy(update={"latency_ms": 19.9})
    with pytest.raises(GateFailed, match=r"takes 20\.0 ms \(median\), the limit is 19\.9 ms"):
        workshop.install(workshop.bundle(2, self_test=faster))


def test_without_a_gpu_the_onnx_file_runs_and_the_reason_is_kept(workshop: Workshop) -> None:
    state = workshop.install(workshop.bundle(1, plans=("green.onnx",))).state
    assert "runs as ONNX" in state.history[-1].plans["green.onnx"]


def test_a_second_install_at_once_is_refused(workshop: Workshop) -> None:
    bundle, refusals = workshop.bundle(1), []

    def second(step: str) -> None:
        if step == "self-test":
            with pytest.raises(UsageError, match=f"another install.*process {os.getpid()}") as info:
                workshop.install(bundle)
            refusals.append(info.value.exit_code)

    workshop.install(bundle, on_step=second)
    assert refusals == [2] and workshop.running()[0].startswith("1-")
