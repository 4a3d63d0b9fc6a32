"""The folder of an installed product, and its record of versions.

DIR/current          link to the version that the line runs; it alone decides
DIR/versions/7-…/    unpacked bundles: the current one and the one before
DIR/state.json       product, highest version ever installed, history
DIR/versions/.new/   what an install works in; worth nothing without it
DIR/site.yaml        what is particular to this device, written by people

All other files and folders there belong to people, who may keep images beside site.yaml: nothing
is removed but what an install has made.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_ad.bundle.durable import make_folder, point_link, sync_folder, write_durably
from edge_ad.clock import now_utc
from edge_ad.errors import DataError, OutletLost, UsageError

_HISTORY = 50  # versions
_VERSION = re.compile(r"\d+-[0-9a-f]{8}(-\d+)?\Z")  # a folder's name: number, digest, attempt


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Installation(_Strict):
    """One installation of a version; `folder` is its name in `versions`.

    `plans` says of each ONNX file what became of its plan. `removed_for` is why it was taken back.
    """

    version: int
    folder: str
    manifest_sha256: str
    installed_utc: str
    who: str
    source: str
    signers: tuple[str, ...]
    older_allowed: bool = False
    plans: dict[str, str] = {}
    removed_for: str = ""
    removed_utc: str = ""
    removed_by: str = ""


class Switch(_Strict):
    """A switch of `current` that has begun; it has happened if the link leads to `to`."""

    kind: Literal["install", "rollback"]
    to: str
    previous: str
    reason: str = ""
    who: str = ""


class Watch(_Strict):
    """The first minutes of a version: since when, and the outcome once it is known."""

    folder: str
    since_utc: str
    restarted_utc: str = ""
    outcome: Literal["", "accepted", "rolled back"] = ""
    reason: str = ""


class State(_Strict):
    """The content of `state.json`. `highest` never falls; names of folders are empty for none."""

    product: str
    highest: Annotated[int, Field(ge=0)] = 0
    current: str = ""
    previous: str = ""
    history: tuple[Installation, ...] = ()
    switch: Switch | None = None
    watch: Watch | None = None

    @property
    def title(self) -> str:
        """Return the product and its current version, as messages name them."""
        return self.title_of(self.current)

    def title_of(self, folder: str) -> str:
        """Return the product and the version in a folder of `versions`, as messages name them."""
        one = self.find(folder)
        return f"{self.product} version {one.version if one else '?'}"

    def find(self, folder: str) -> Installation | None:
        """Return the newest installation in a folder of `versions`."""
        return next((one for one in reversed(self.history) if one.folder == folder), None)


class BundleFolder:
    """The paths of an installed product."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.link, self.versions = self.path / "current", self.path / "versions"
        self.unpacked, self.site = self.versions / ".new", self.path / "site.yaml"
        self.downloads = self.path / "downloads"
        self._state, self._lock = self.path / "state.json", self.path / "install.lock"

    @property
    def linked(self) -> str:
        """The name of the folder that `current` leads to; empty for none."""
        return Path(os.readlink(self.link)).name if self.link.is_symlink() else ""

    def version(self, folder: str) -> Path:
        """Return the path of an unpacked version."""
        return self.versions / folder

    def load(self) -> State | None:
        """Return the state, None before the first install. Raises DataError when it is damaged."""
        try:
            return State.model_validate_json(self._state.read_bytes())
        except FileNotFoundError:
            if self.link.is_symlink():
                raise DataError(
                    f"{self._state} is missing, but versions are installed. Restore it, or install "
                    "into another folder."
                ) from None
            return None
        except (ValidationError, ValueError) as error:
            raise DataError(
                f"{self._state} is damaged ({str(error).splitlines()[0]}). The line is not "
                "affected. Restore the file, or install into another folder."
            ) from error

    def save(self, state: State) -> None:
        """Write the state. Raises OSError."""
        kept = state.model_copy(update={"history": state.history[-_HISTORY:]})
        text = json.dumps(kept.model_dump(mode="json"), indent=1)
        write_durably(self._state, f"{text}\n".encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep other installs out. Raises UsageError, OutletLost."""
        handle = self._open_lock()
        try:
            _lock(handle, self.path)
            yield
        finally:
            os.close(handle)

    @property
    def is_busy(self) -> bool:
        """Whether an install or a rollback works here now. Raises OutletLost."""
        handle = self._open_lock()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def check_writable(self) -> None:
        """Raise OutletLost when this user could not switch versions here."""
        os.close(self._open_lock())

    def recover(self) -> State | None:
        """Finish or forget what an interrupted install has begun; return the state. Needs the lock.

        Raises DataError, OSError.
        """
        state = self.load()
        if state is not None and state.switch is not None:
            state = self._resolve(state, state.switch)
            self.save(state)
        shutil.rmtree(self.unpacked, ignore_errors=True)
        return state

    def switch(self, state: State, switch: Switch) -> None:
        """Note a switch and let `current` lead to its folder; `finish` completes it."""
        self.save(state.model_copy(update={"switch": switch}))

    def point(self, folder: str) -> None:
        """Let `current` lead to a version: the moment of the switch."""
        point_link(self.link, f"{self.versions.name}/{folder}")

    def finish(self) -> State:
        """Record a switch that has happened, and return the state."""
        state = self.load()
        assert state is not None and state.switch is not None
        state = self._resolve(state, state.switch)
        self.save(state)
        return state

    def prune(self, state: State) -> None:
        """Remove versions that are neither current nor the one before."""
        kept = {state.current, state.previous, self.linked}
        for path in self.versions.iterdir() if self.versions.is_dir() else ():
            if path.name not in kept and _VERSION.match(path.name):
                shutil.rmtree(path, ignore_errors=True)
        if self.versions.is_dir():
            sync_folder(self.versions)

    def _open_lock(self) -> int:
        try:
            make_folder(self.path)
            return os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutletLost(f"{self.path}: cannot be written ({error.strerror}).") from error

    def _resolve(self, state: State, switch: Switch) -> State:
        if self.linked != switch.to:
            return _forgotten(state, switch)
        return (_installed if switch.kind == "install" else _taken_back)(state, switch)


def _forgotten(state: State, switch: Switch) -> State:
    """Return the state after a switch that has not happened: what it noted was not installed."""
    history = state.history[:-1] if switch.kind == "install" else state.history
    return state.model_copy(update={"switch": None, "history": history})


def _installed(state: State, switch: Switch) -> State:
    """Return the state after an install, whose version stands in the history already."""
    installed = state.find(switch.to)
    return state.model_copy(
        update={
            "switch": None, "current": switch.to, "previous": switch.previous,
            "highest": max(state.highest, installed.version if installed else 0),
            "watch": Watch(folder=switch.to, since_utc=now_utc()),
        }
    )  # fmt: skip


def _taken_back(state: State, switch: Switch) -> State:
    """Return the state after a rollback: the version stays in the history with the reason."""
    removed = {"removed_for": switch.reason, "removed_utc": now_utc(), "removed_by": switch.who}
    history = tuple(
        one.model_copy(update=removed) if one.folder == state.current else one
        for one in state.history
    )
    watch = state.watch
    if watch is not None and not watch.outcome:
        watch = watch.model_copy(update={"outcome": "rolled back", "reason": switch.reason})
    return state.model_copy(
        update={
            "switch": None, "current": switch.to, "previous": "", "history": history,
            "watch": watch,
        }
    )  # fmt: skip


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
        raise UsageError(
            f"another install or rollback{f' (process {holder})' if holder else ''} works in "
            f"{path}. Wait for its end."
        ) from None
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except OSError:  # the number is for people: a full disk does not hinder the lock
        pass
