"""Install a bundle in steps, of which any may be the last before the power goes.

Everything up to the switch happens beside the running version. The switch is one rename; what an
interruption leaves is finished or forgotten by the next install (`BundleFolder.recover`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edge_ad.bundle.archive import open_bundle, read_files
from edge_ad.bundle.checks import CheckedBundle, check_head, check_target, check_time, check_version
from edge_ad.bundle.durable import check_room, make_folder, rename_durably, sync_tree, write_durably
from edge_ad.bundle.manifest import (
    MANIFEST,
    SIGNATURES,
    BundledFile,
    plan_name,
)
from edge_ad.bundle.plans import BUILT, build_plans
from edge_ad.bundle.self_test import SelfTestResult, run_self_test
from edge_ad.bundle.state import BundleFolder, Installation, State, Switch
from edge_ad.bundle.trust import Trust
from edge_ad.bundle.whole import check_way_back, verify_installed
from edge_ad.clock import now_utc
from edge_ad.errors import DataError, OutletLost, UsageError

STEPS = (
    *("check", "verify", "unpack", "plans", "line", "self-test", "sync", "publish", "note"),
    *("switch", "finish", "prune"),
)

OnStep = Callable[[str], None]


@dataclass(frozen=True)
class InstallRequest:
    """What to install where, on whose word.

    `bundle` is a file, or a function that fetches it while other installs are kept out. `again`
    installs what is current already, as after an update of TensorRT.
    `write_line` writes the line file of this device for an unpacked version and raises when the
    line could not start with it; it receives the version's folder, the folder that it will have,
    and the engines that take the place of the bundle's.
    """

    folder: Path
    bundle: Path | Callable[[], Path]
    trust: Trust
    write_line: Callable[[Path, Path, dict[str, str]], None]
    source: str
    who: str
    allow_older: bool = False
    again: bool = False
    on_step: OnStep = lambda step: None


@dataclass(frozen=True)
class InstallResult:
    """The bundle and the state after its installation; `tested` is None if it was there before."""

    bundle: CheckedBundle
    state: State
    tested: SelfTestResult | None


def install(request: InstallRequest) -> InstallResult:
    """Install a bundle and switch to it.

    Raises DataError for a damaged bundle, IncompatibleError for one that this device must not or
    cannot run, GateFailed when its self-test fails, OutletLost for a full disk, UsageError while
    another install works. Then the version before goes on.
    """
    folder = BundleFolder(request.folder)
    with folder.locked(), _untouched(folder), ExitStack() as stack:
        state = folder.recover()
        request.on_step("check")
        path = request.bundle if isinstance(request.bundle, Path) else request.bundle()
        file = stack.enter_context(open_bundle(path))
        bundle = _checked(file, request, state)
        if state is not None and not request.again and _is_current(folder, state, bundle):
            return InstallResult(bundle, state, None)
        stack.callback(shutil.rmtree, folder.unpacked, ignore_errors=True)
        name = _free_name(folder, bundle)
        plans, tested = _prepare(file, bundle, request, folder, name)
        request.on_step("publish")
        rename_durably(folder.unpacked, folder.version(name))
        state = _add_installation(
            state or State(product=bundle.manifest.product), bundle, request, name, plans
        )
        return InstallResult(bundle, _activate(folder, state, name, request.on_step), tested)


def _checked(file: BinaryIO, request: InstallRequest, state: State | None) -> CheckedBundle:
    label = request.source
    bundle = check_head(file, request.trust, label)
    check_time(bundle.manifest, label)
    check_target(bundle.manifest.target, label)
    check_version(bundle, state, label, allow_older=request.allow_older)
    check_room(request.folder, bundle.manifest.size)
    request.on_step("verify")
    after_head = file.tell()
    read_files(file, bundle.manifest.files, label)
    file.seek(after_head)
    return bundle


def _is_current(folder: BundleFolder, state: State, bundle: CheckedBundle) -> bool:
    """Return whether the very bundle is installed and whole."""
    current = state.find(state.current)
    return (
        current is not None
        and current.manifest_sha256 == bundle.sha256
        and not verify_installed(folder.version(current.folder), bundle.manifest)
    )


def _prepare(
    file: BinaryIO, bundle: CheckedBundle, request: InstallRequest, folder: BundleFolder, name: str
) -> tuple[dict[str, str], SelfTestResult]:
    """Unpack, build, write the line file, test; all of it in `unpacked`, and on the disk."""
    manifest, unpacked = bundle.manifest, folder.unpacked
    request.on_step("unpack")
    make_folder(unpacked)
    read_files(file, manifest.files, request.source, lambda entry: _writing(unpacked, entry))
    write_durably(unpacked / MANIFEST, bundle.head.manifest)
    write_durably(unpacked / SIGNATURES, bundle.head.signatures)
    request.on_step("plans")
    plans = build_plans(unpacked, manifest.plans, request.on_step)
    engines = {onnx: plan_name(onnx) for onnx, text in plans.items() if text.startswith(BUILT)}
    request.on_step("line")
    request.write_line(unpacked, folder.version(name), engines)
    request.on_step("self-test")
    tested = run_self_test(unpacked, manifest.self_test, engines)
    request.on_step("sync")
    sync_tree(unpacked)
    return plans, tested


def _add_installation(
    state: State, bundle: CheckedBundle, request: InstallRequest, name: str, plans: dict[str, str]
) -> State:
    """Return the state with an installation more in its history."""
    installation = Installation(
        version=bundle.manifest.version,
        folder=name,
        manifest_sha256=bundle.sha256,
        installed_utc=now_utc(),
        who=request.who,
        source=request.source,
        signers=tuple(bundle.signers),
        older_allowed=request.allow_older,
        plans=plans,
    )
    return state.model_copy(update={"history": (*state.history, installation)})


def _activate(folder: BundleFolder, state: State, name: str, on_step: OnStep) -> State:
    """Switch to the version in the folder `name`, which stands in the state's history."""
    on_step("note")
    folder.switch(state, Switch(kind="install", to=name, previous=folder.linked))
    on_step("switch")
    folder.point(name)
    on_step("finish")
    state = folder.finish()
    on_step("prune")
    folder.prune(state)
    return state


def roll_back(
    path: Path, reason: str, who: str, on_step: OnStep = lambda step: None, *, only: str = ""
) -> State:
    """Switch to the version before, and return the state.

    With `only`, nothing happens unless that folder is current. Raises UsageError when there is
    nothing to go back to, DataError when it is damaged, OutletLost for a full disk.
    """
    folder = BundleFolder(path)
    if not folder.path.is_dir():
        raise UsageError(f"{path}: nothing is installed there.")
    with folder.locked(), _untouched(folder):
        state = folder.recover()
        if state is None:
            raise UsageError(f"{path}: nothing is installed there.")
        if only and state.current != only:
            return state
        if not state.previous or not folder.version(state.previous).is_dir():
            raise UsageError(f"{path}: there is no version before the current one to go back to.")
        try:
            check_way_back(folder.version(state.previous))
        except DataError as error:
            raise DataError(
                f"{path}: the version before is damaged, so {state.current} stays. {error}. "
                "Install a whole one."
            ) from error
        on_step("note")
        switch = Switch(kind="rollback", to=state.previous, previous="", reason=reason, who=who)
        folder.switch(state, switch)
        on_step("switch")
        folder.point(state.previous)
        on_step("finish")
        return folder.finish()


def note_restart(path: Path) -> None:
    """Record that the line is asked to start again with the current version. Raises OSError."""
    folder = BundleFolder(path)
    with folder.locked(), _untouched(folder):
        state = folder.recover()
        if state is not None and state.watch is not None:
            watch = state.watch.model_copy(update={"restarted_utc": now_utc()})
            folder.save(state.model_copy(update={"watch": watch}))


@contextmanager
def _untouched(folder: BundleFolder) -> Iterator[None]:
    """Convert an error of the disk to OutletLost that says which version goes on."""
    before = folder.linked
    try:
        yield
    except OSError as error:
        after = folder.linked
        where = error.filename or folder.path
        kept = f"The line goes on with {before}" if before else "Nothing is installed"
        if after != before:
            kept = f"{after} is current; its record is written by the next install or rollback"
        reason = error.strerror or error
        raise OutletLost(f"{where}: cannot be written ({reason}). {kept}.") from error


def _free_name(folder: BundleFolder, bundle: CheckedBundle) -> str:
    """Return a name in `versions` that no folder has: 7-0a1b2c3d, then 7-0a1b2c3d-2."""
    stem, number = f"{bundle.manifest.version}-{bundle.sha256[:8]}", 1
    name = stem
    while os.path.lexists(folder.version(name)):
        number += 1
        name = f"{stem}-{number}"
    return name


@contextmanager
def _writing(folder: Path, entry: BundledFile) -> Iterator[Callable[[bytes], object]]:
    path = folder / entry.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        yield file.write
