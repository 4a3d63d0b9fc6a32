"""Installs that are cut off: a full disk, a kill at any step, damaged records."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from typing import NamedTuple

import pytest

from edge_ad.bundle.health import read_status
from edge_ad.bundle.install import STEPS, roll_back
from edge_ad.bundle.self_test import SelfTestResult
from edge_ad.bundle.state import BundleFolder
from edge_ad.errors import IncompatibleError, OutletLost, UsageError
from tests.bundle.conftest import Workshop

ROLLBACK_STEPS = ("note", "switch", "finish")


@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_at_any_step_leaves_a_line_that_runs(workshop: Workshop, step: str) -> None:
    second = workshop.bundle(2)
    workshop.have_installed()
    before = workshop.running()

    def full(now: str) -> None:
        if now == step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "the disk")

    with pytest.raises(OutletLost, match="No space left on device") as info:
        workshop.install(second, on_step=full)
    switched = step in ("finish", "prune")
    assert workshop.running()[0].startswith("2-" if switched else "1-")
    assert switched or (workshop.running() == before and "goes on with 1-" in str(info.value))
    workshop.install(second)
    assert workshop.running()[0].startswith("2-")
    assert read_status(workshop.device, workshop.trust).problems == []


def test_a_bundle_larger_than_the_disk_is_refused_before_it_is_read(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = workshop.manifest(1)
    entry = manifest.files[0].model_copy(update={"size": 8**11 - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(1 << 20))
    changed = manifest.model_copy(update={"files": (entry, *manifest.files[1:])})
    with pytest.raises(OutletLost, match="MiB are needed, 1 MiB are free"):
        workshop.install(workshop.write(changed.to_bytes(), []))


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns, as far as it is used."""

    free: int


def die(at: str) -> Callable[[str], None]:
    def on_step(step: str) -> None:
        if step == at:
            os._exit(9)

    return on_step


def in_child(call: Callable[[], object]) -> int:
    """Run a call in a fork and return the child's exit code: 9 when it died at its step."""
    child = os.fork()
    if child == 0:
        try:
            call()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_leaves_a_line_that_runs(
    workshop: Workshop, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = SelfTestResult(2, 0.0, 1.0)  # engines must not be opened in a fork
    monkeypatch.setattr("edge_ad.bundle.install.run_self_test", lambda *_: passed)
    second, third = (workshop.bundle(version) for version in (2, 3))
    workshop.have_installed()
    before = workshop.running()
    assert in_child(lambda: workshop.install(second, on_step=die(step))) == 9
    switched = step in ("finish", "prune")
    assert switched or workshop.running() == before
    status = read_status(workshop.device, workshop.trust)
    assert status.problems == []
    happened = {"switch": "it has not happened", "finish": "it has happened"}.get(step)
    assert [f"was interrupted; {happened}" in note for note in status.notes] == [True] * bool(
        happened
    )
    assert status.current is not None and status.current.version == (2 if switched else 1)
    state = workshop.install(third).state
    assert workshop.running()[0].startswith("3-") and state.switch is None
    assert state.previous.startswith("2-" if switched else "1-")
    assert not (workshop.device / "versions" / ".new").exists()


def test_an_install_that_did_not_switch_was_none(workshop: Workshop) -> None:
    """Its version may come again in another bundle, and is not the highest ever installed."""
    workshop.have_installed()

    def die_before(step: str) -> None:
        if step == "switch":
            raise ConnectionAbortedError

    for note in ("cut off", "made again"):
        with pytest.raises(OutletLost):
            workshop.install(workshop.bundle(3, note=note), on_step=die_before)
    state = workshop.install(workshop.bundle(2)).state
    assert (state.highest, [one.version for one in state.history]) == (2, [1, 2])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("step", ROLLBACK_STEPS)
def test_a_kill_during_a_rollback_leaves_a_line_that_runs(workshop: Workshop, step: str) -> None:
    for version in (1, 2):
        workshop.install(workshop.bundle(version))
    assert in_child(lambda: roll_back(workshop.device, "bad", "test", die(step))) == 9
    switched = step == "finish"
    assert workshop.running()[0].startswith("1-" if switched else "2-")
    assert read_status(workshop.device, None).problems == []
    if switched:
        with pytest.raises(IncompatibleError, match="taken back"):
            workshop.install(workshop.bundle(2))
    workshop.install(workshop.bundle(3))
    assert workshop.running()[0].startswith("3-")


def test_a_lock_of_a_dead_process_does_not_hinder(workshop: Workshop) -> None:
    workshop.device.mkdir()
    lock = workshop.device / "install.lock"
    lock.write_text("a number longer than any process has\n")
    workshop.install(workshop.bundle(1))
    assert lock.read_text() == f"{os.getpid()}\n"
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released


def test_a_damaged_record_is_refused_and_the_line_untouched(workshop: Workshop) -> None:
    workshop.have_installed()
    before = workshop.running()
    (workshop.device / "state.json").write_text("{")
    with pytest.raises(UsageError, match="is damaged"):
        workshop.install(workshop.bundle(2))
    (workshop.device / "state.json").unlink()
    with pytest.raises(UsageError, match="is missing, but versions are installed"):
        BundleFolder(workshop.device).load()
    assert workshop.running() == before


def test_the_steps_are_those_that_are_named(workshop: Workshop) -> None:
    steps: list[str] = []
    workshop.install(workshop.bundle(1), on_step=steps.append)
    assert steps == list(STEPS)
