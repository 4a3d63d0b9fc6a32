"""Files and folders a command writes, refused at the start rather than after an hour."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edge_ad.control.address import SOCKET
from edge_ad.errors import OutletLost, UsageError
from edge_ad.store.lock import LOCK, FolderLock, check_free
from edge_ad.store.schema import DATABASE

_OF_A_RUN = (  # names that people give their own files are none of them
    f"{DATABASE}*",
    "inspections.jsonl*",
    "evidence/part-*.jpg",
    f"drift/*-{'[0-9a-f]' * 8}-*.jpg",
    "samples/part-*-*.png",
    "contact-sheet.jpg",
    "summary.json",
)
_BEFORE_DATABASE = {LOCK, SOCKET}  # a line that was killed at once has left no more
_LEAST_MIB = 16  # below it, logs and reports fail too
_LEAST_TO_GO_ON_MIB = 1  # a line that was judging goes on: one that runs does not stop there either


def check_output_file(path: Path, suffix: str, option: str = "-o") -> None:
    """Raise UsageError for another suffix or a folder of that name, or what `check_writable` does.

    `option` is the one that names the file.
    """
    if path.suffix != suffix:
        raise UsageError(f"{option} {path}: expected a name that ends in {suffix}.")
    if path.is_dir():
        raise UsageError(f"{option} {path}: that is a folder. Name a file in it.")
    check_writable(path)


@contextlib.contextmanager
def output_file(path: Path, suffix: str, option: str = "-o") -> Iterator[Path]:
    """Check a file now as `check_output_file` does, and write it in the block; see `writing`."""
    check_output_file(path, suffix, option)
    with writing(path):
        yield path


@contextlib.contextmanager
def writing(path: Path, advice: str = "") -> Iterator[None]:
    """Convert a failed write of a file to OutletLost, with `advice` at the end.

    An error that names a file of another folder, or is one of a connection, passes: nothing is
    wrong with this file then.
    """
    try:
        yield
    except OSError as error:
        if not _concerns(error, path):
            raise
        reason = f"{path}: cannot be written ({error.strerror or error})."
        raise OutletLost(f"{reason} {advice}".rstrip()) from error


def _concerns(error: OSError, path: Path) -> bool:
    """Return whether an error may be one of writing a file: of its folder, or of no name."""
    if isinstance(error.filename, str | bytes | os.PathLike):
        named, folder = Path(os.fsdecode(error.filename)).absolute(), path.absolute().parent
        return folder in (named, named.parent)
    return not isinstance(error, ConnectionError | TimeoutError)


def check_output_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that a `FolderClaim` and a line in it will succeed, without changing anything.

    Raises UsageError when another line writes to the folder, or when it has other files than those
    of a line and `overwrite` is not given; OutletLost when it cannot be written.
    """
    goes_on = (folder / DATABASE).is_file()
    check_writable(folder / "summary.json", _LEAST_TO_GO_ON_MIB if goes_on else _LEAST_MIB)
    check_free(folder)
    if overwrite or not folder.is_dir() or goes_on:
        return
    others = sorted({path.name for path in folder.iterdir()} - _BEFORE_DATABASE)
    if others:
        raise UsageError(
            f"the output folder {folder} is not empty ({others[0]}) and no line's folder, since it "
            f"has no {DATABASE}. Name another one, or give --overwrite to replace the files of an "
            "earlier run."
        )


class FolderClaim:
    """The output folder of a run that starts: made and locked, so that others see it coming.

    `give_up` removes what a refused start has made. Raises UsageError when another line writes to
    the folder, OutletLost when it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = [path for path in (folder, *folder.parents) if not path.exists()]
        self._lock: FolderLock | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(folder)
        except BaseException as error:
            self.give_up()
            if isinstance(error, OSError):
                raise OutletLost(f"{folder}: cannot be written ({error.strerror}).") from error
            raise

    def take(self, *, overwrite: bool) -> FolderLock:
        """Hand the lock over to the store; with `overwrite` remove what an earlier run left."""
        assert self._lock is not None
        for pattern in _OF_A_RUN if overwrite else ():
            for path in self._folder.glob(pattern):
                _remove(path)
        lock, self._lock = self._lock, None
        return lock

    def give_up(self) -> None:
        """Unlock the folder unless a line has it, and remove it if it was made and is empty."""
        if self._lock is not None:
            self._lock.release(refused=True)
        for path in self._made:
            with contextlib.suppress(OSError):
                path.rmdir()


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise OutletLost(f"{path}: cannot be removed ({error.strerror}).") from error


def check_writable(path: Path, least_mib: int = _LEAST_MIB) -> None:
    """Raise OutletLost when no file can be made at `path`: no permission, or less room."""
    existing = next(folder for folder in path.absolute().parents if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutletLost(f"{path}: cannot be written, since {existing} is not a writable folder.")
    if path.exists() and not os.access(path, os.W_OK):
        raise OutletLost(f"{path}: cannot be written: it exists and is write-protected.")
    free_mib = shutil.disk_usage(existing).free / 2**20
    if free_mib < least_mib:
        raise OutletLost(
            f"{path}: cannot be written: {free_mib:.0f} MiB are free, but {least_mib} MiB are "
            "needed. Make room, or write to another disk."
        )
