"""Files and folders a command writes, refused at the start rather than after an hour."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from edge_ad.errors import OutletLost, UsageError


@contextlib.contextmanager
def output_file(path: Path, suffix: str) -> Iterator[Path]:
    """Check the name and its folder now; convert a failed write in the block to OutletLost.

    Raises UsageError for another suffix or a folder of that name.
    """
    if path.suffix != suffix:
        raise UsageError(f"-o {path}: expected a name that ends in {suffix}.")
    if path.is_dir():
        raise UsageError(f"-o {path}: that is a folder. Name a file in it.")
    _check_folder(path)
    try:
        yield path
    except OSError as error:
        raise OutletLost(f"{path}: cannot be written ({error.strerror or error}).") from error


def make_output_folder(folder: Path, *, overwrite: bool) -> None:
    """Make the output folder of a run.

    With `overwrite`, remove the log and images of an earlier run. Raises UsageError when the folder
    has files and `overwrite` is not given, OutletLost when it cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise UsageError(
            f"the output folder {folder} is not empty. Name another one, or give "
            "--overwrite to replace the files of an earlier run."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in ("events.jsonl*", "evidence/*.jpg", "contact-sheet.jpg", "summary.json"):
            for old in folder.glob(pattern):
                old.unlink()
    except OSError as error:
        raise OutletLost(f"{folder}: cannot be written ({error.strerror}).") from error


def _check_folder(path: Path) -> None:
    existing = next(folder for folder in path.absolute().parents if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutletLost(f"{path}: cannot be written, since {existing} is not a writable folder.")
