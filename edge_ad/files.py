"""Atomic file writes, content hashes, and names as text."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from edge_ad.errors import DataError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; it replaces `path` when the block succeeds.

    It has the suffix of `path`, since writers choose their format by it, and the mode that the
    umask gives. Python can read the umask only by setting another one for a moment, for all
    threads: so the file is made with that mode, where `tempfile` would make it with 0600.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except OSError as error:
        error.filename = str(path)  # the name that a message can use
        raise
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_together(files: Mapping[Path, Path]) -> None:
    """Move each file to its place, replacing what is there, all of them or none.

    A failure puts back what was replaced. Raises OSError.
    """
    ready: dict[Path, Path] = {}
    backups: dict[Path, Path] = {}
    moved: list[Path] = []
    try:
        for source, target in files.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            ready[target] = target.with_name(f".{target.name}.new")
            shutil.move(source, ready[target])  # copies between disks, where space may run out
            if target.exists():
                backups[target] = target.with_name(f".{target.name}.old")
                shutil.copy2(target, backups[target])
        for target, new in ready.items():
            os.replace(new, target)
            moved.append(target)
    except OSError:
        for target in moved:
            if target in backups:
                os.replace(backups[target], target)
            else:
                target.unlink(missing_ok=True)
        raise
    finally:
        for path in (*ready.values(), *backups.values()):
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def readable(name: str) -> str:
    """Return a file's name as text that can be stored and drawn: bytes that are not UTF-8 as \\xNN.

    Python has them as lone surrogates, which SQLite refuses and OpenCV crashes on.
    """
    if name.isascii():
        return name
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # other lone surrogates, which JSON may contain
        return name.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    """Return text as one line that a terminal shows as it stands: ? for control characters."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else " " if letter.isspace() else "?" for letter in text
    )


def check_folder(path: Path, content: str) -> None:
    """Raise DataError unless `path` is a folder; `content` is what is expected in it."""
    if not path.is_dir():
        problem = "a file, not a folder" if path.exists() else "no such folder"
        raise DataError(f"{path}: {problem}. Expected a folder with {content}.")


def file_state(path: Path) -> str:
    """Return what changes when a file is replaced, without reading it; empty for a missing one."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{state.st_size} bytes at {state.st_mtime_ns}"


def sha256(path: Path) -> str:
    """Return the hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of(paths: Iterable[Path]) -> str:
    """Return the hex digest of a set of files, from their sorted content hashes.

    It does not depend on names or order, so a copied data set keeps its digest.
    """
    digest = hashlib.sha256()
    for file_digest in sorted(sha256(path) for path in paths):
        digest.update(file_digest.encode())
    return digest.hexdigest()
