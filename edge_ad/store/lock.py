"""One line per folder: a lock that the kernel releases when its holder dies.

Whoever only asks whether a line runs shares the lock for a moment, so that several may ask at once.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from edge_ad.errors import UsageError

LOCK = "line.lock"
_ASKED_FOR_S = 0.5  # more than somebody who asks holds it


def check_free(folder: Path) -> None:
    """Raise UsageError when a line runs in the folder; change nothing."""
    path = folder / LOCK
    if path.exists():
        os.close(_locked(path, os.O_RDONLY, fcntl.LOCK_SH))


def is_locked(folder: Path) -> bool:
    """Return whether a line runs in the folder."""
    try:
        check_free(folder)
    except UsageError:
        return True
    except OSError:
        return False
    return False


class FolderLock:
    """A locked folder, until `release`.

    Raises UsageError when another process holds it, OSError when it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._is_new = not self._path.exists()
        self._handle = _lock_folder(folder)

    def release(self, *, refused: bool = False) -> None:
        """Unlock the folder; of a `refused` start nothing stays. A second call does nothing."""
        handle, self._handle = self._handle, -1
        if handle < 0:
            return
        if refused and self._is_new:
            self._path.unlink(missing_ok=True)
        os.close(handle)


def _lock_folder(folder: Path) -> int:
    """Lock the folder and return the file descriptor that holds the lock."""
    flags = os.O_RDWR | os.O_CREAT
    handle = _locked(folder / LOCK, flags, fcntl.LOCK_EX, within_s=_ASKED_FOR_S)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except OSError:  # the number is for people: a full disk does not hinder the lock
        pass
    return handle


def _locked(path: Path, flags: int, kind: int, within_s: float = 0.0) -> int:
    handle = os.open(path, flags | os.O_CLOEXEC, 0o666)
    until = time.monotonic() + within_s
    try:
        while not _try_lock(handle, kind):
            if time.monotonic() >= until:
                raise UsageError(_held(handle, path))
            time.sleep(0.01)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(handle: int, path: Path) -> str:
    holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
    return (
        f"another line{f' (process {holder})' if holder else ''} writes to {path.parent}. "
        "Stop it, or name another folder."
    )
