"""Writes that have reached the disk when they return, so that no power cut undoes or tears them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edge_ad.errors import OutletLost

_SPARE_BYTES = 32 << 20  # for plans, records and what else writes to the disk
_NEW = ".new"


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file: after a power cut it has the old content or the new one."""
    new = path.with_name(f".{path.name}{_NEW}")
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def point_link(link: Path, target: str) -> None:
    """Let a symbolic link lead to `target`: at any time it leads to the old one or the new one."""
    new = link.with_name(f".{link.name}{_NEW}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    os.replace(new, link)
    sync_folder(link.parent)


def rename_durably(source: Path, target: Path) -> None:
    """Rename a file or folder within a disk."""
    os.rename(source, target)
    sync_folder(target.parent)
    sync_folder(source.parent)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, each of which stays after a power cut."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        sync_folder(folder.parent)


def check_room(folder: Path, missing: int) -> None:
    """Raise OutletLost when so many bytes more would fill the disk that the line writes to."""
    free, needed = shutil.disk_usage(folder).free, missing + _SPARE_BYTES
    if free < needed:
        raise OutletLost(
            f"{folder}: {needed >> 20} MiB are needed, {free >> 20} MiB are free. Make room."
        )


def sync_tree(folder: Path) -> None:
    """Write out all files and folders below `folder`, and itself."""
    for name, _, files in os.walk(folder, topdown=False):
        for file in files:
            _sync(Path(name, file), os.O_RDONLY)
        sync_folder(Path(name))


def sync_folder(folder: Path) -> None:
    """Write out which names a folder has."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
