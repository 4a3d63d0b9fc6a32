"""One line per folder: a lock that the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from edge_ad.errors import UsageError

LOCK = "line.lock"


def check_free(folder: Path) -> None:
    """Raise UsageError when a line runs in the folder; change nothing."""
    path = folder / LOCK
    if path.exists():
        os.close(_locked(path, os.O_RDONLY))


def is_locked(folder: Path) -> bool:
    """Return whether a line runs in the folder."""
    try:
        check_free(folder)
    except UsageError:
        return True
    except OSError:
        return False
    return False


def lock_folder(folder: Path) -> int:
    """Lock the folder and return the file descriptor that holds the lock.

    Raises UsageError when another process holds it, OSError when it cannot be written.
    """
    handle = _locked(folder / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except OSError:  # the number is for people: a full disk does not hinder the lock
        pass
    return handle


def _locked(path: Path, flags: int) -> int:
    handle = os.open(path, flags | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
        os.close(handle)
        raise UsageError(
            f"another line{f' (process {holder})' if holder else ''} writes to {path.parent}. "
            "Stop it, or name another folder."
        ) from None
    except OSError:
        os.close(handle)
        raise
    return handle
