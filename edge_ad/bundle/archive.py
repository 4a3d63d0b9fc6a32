"""The file format: a tar archive that its manifest determines to the last byte.

Manifest and signatures come first, then each file in the manifest's order, then the end. Reading
compares every header with the one that writing would have made, so there is nothing to interpret:
no links, devices, extended headers, other names or sizes.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edge_ad.bundle.manifest import MANIFEST, SIGNATURES, BundledFile, name_problem
from edge_ad.errors import DataError, UsageError

_BLOCK = 512
_CHUNK = 1 << 20
_LARGEST_HEAD = 4 << 20  # bytes of manifest and of signatures
_END = bytes(2 * _BLOCK)
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)

Sink = Callable[[BundledFile], AbstractContextManager[Callable[[bytes], object]]]


@dataclass(frozen=True, slots=True)
class Head:
    """The first two members of a bundle, as they stand in the file."""

    manifest: bytes
    signatures: bytes


@contextmanager
def open_bundle(path: Path) -> Iterator[BinaryIO]:
    """Open a bundle for reading. Raises UsageError for a file that is not there."""
    try:
        file = open(path, "rb", opener=_at_once)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}).") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UsageError(f"{path}: not a file. A bundle is read twice, which a pipe cannot be.")
        yield file


def _at_once(path: str, flags: int) -> int:
    """Open a file without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_head(file: BinaryIO, label: str) -> Head:
    """Return manifest and signatures from the start of a file. Raises DataError."""
    return Head(_read_small(file, MANIFEST, label), _read_small(file, SIGNATURES, label))


def read_files(
    file: BinaryIO, files: Sequence[BundledFile], label: str, sink: Sink | None = None
) -> None:
    """Read what follows the head, check all of it, and write each file to its sink.

    Raises DataError as soon as anything differs from `files`; no file is written beyond its size.
    """
    for entry in files:
        block = file.read(_BLOCK)
        if block != header(entry.name, entry.size):
            raise DataError(f"{label}: {_difference(block, entry, files)}.")
        with (sink or _discard)(entry) as write:
            _copy(file, entry, write, label)
    end = file.read(_BLOCK)
    if end.strip(b"\0"):
        raise DataError(f"{label}: {_surplus(end, files)}.")
    if end + file.read(_BLOCK + 1) != _END:
        raise DataError(f"{label}: it does not end where it should; it is truncated or has more.")


def write_bundle(file: BinaryIO, head: Head, files: Sequence[tuple[BundledFile, Path]]) -> None:
    """Write a bundle. Raises DataError when a file changed after its digest was taken."""
    write_head(file, head)
    for entry, path in files:
        file.write(header(entry.name, entry.size))
        with path.open("rb") as source:
            _copy(source, entry, file.write, str(path), padded=False)
        file.write(_padding(entry.size))
    file.write(_END)


def write_head(file: BinaryIO, head: Head) -> None:
    """Write the first two members."""
    for name, data in ((MANIFEST, head.manifest), (SIGNATURES, head.signatures)):
        file.write(header(name, len(data)) + data + _padding(len(data)))


def header(name: str, size: int) -> bytes:
    """Return the tar header (POSIX ustar) of a file: mode 0644, owner 0, time 0."""
    fields = (
        (name.encode("ascii"), 100), (b"0000644", 8), (b"0000000", 8), (b"0000000", 8),
        (b"%011o" % size, 12), (b"%011o" % 0, 12), (b" " * 8, 8), (b"0", 1), (b"", 100),
        (b"ustar", 6), (b"00", 2), (b"", 32), (b"", 32), (b"0000000", 8), (b"0000000", 8),
        (b"", 167),
    )  # fmt: skip
    block = b"".join(value.ljust(width, b"\0") for value, width in fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _read_small(file: BinaryIO, name: str, label: str) -> bytes:
    block = file.read(_BLOCK)
    size = _size(block)
    if size is None or size > _LARGEST_HEAD or block != header(name, size):
        raise DataError(
            f"{label}: not a bundle: {name} was expected at byte {max(file.tell() - _BLOCK, 0)}, "
            f"got {_kind(block)}. Make bundles with: edge-ad bundle create"
        )
    data, padding = file.read(size), _padding(size)
    if len(data) < size or file.read(len(padding)) != padding:
        raise DataError(f"{label}: it is truncated or damaged in {name}.")
    return data


def _size(block: bytes) -> int | None:
    digits = block[124:135]
    return int(digits, 8) if len(digits) == 11 and digits.strip(b"01234567") == b"" else None


def _copy(
    file: BinaryIO,
    entry: BundledFile,
    write: Callable[[bytes], object],
    label: str,
    *,
    padded: bool = True,
) -> None:
    digest, left = hashlib.sha256(), entry.size
    while left:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:
            raise DataError(f"{label}: it is truncated: {left} bytes of {entry.name} are missing.")
        digest.update(chunk)
        write(chunk)
        left -= len(chunk)
    if digest.hexdigest() != entry.sha256:
        raise DataError(
            f"{label}: {entry.name} was changed: expected sha256 {entry.sha256[:12]}, got "
            f"{digest.hexdigest()[:12]}. Copy the bundle again."
        )
    padding = _padding(entry.size)
    if padded and file.read(len(padding)) != padding:
        raise DataError(f"{label}: it is truncated or damaged after {entry.name}.")


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


@contextmanager
def _discard(_: BundledFile) -> Iterator[Callable[[bytes], object]]:
    yield len


def _difference(block: bytes, entry: BundledFile, files: Sequence[BundledFile]) -> str:
    """Return what a header is instead of the one of `entry`."""
    if len(block) < _BLOCK:
        return f"it is truncated: {entry.name} is missing"
    if not block.strip(b"\0"):
        return f"{entry.name} is missing"
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return f"the header of {entry.name} is damaged"
    if info.name != entry.name:
        return _surplus(block, files)
    if info.type not in _FILES:
        return f"{entry.name} is {_type(info)}, not a file"
    if info.size != entry.size:
        return f"{entry.name} has {info.size} bytes, its manifest says {entry.size}"
    return f"the header of {entry.name} is not as edge-ad bundle create writes it"


def _surplus(block: bytes, files: Sequence[BundledFile]) -> str:
    """Return what is wrong with a member that does not belong there."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return "it is damaged between two files"
    name = ascii(info.name)
    if problem := name_problem(info.name):
        return f"the name {name} {problem}"
    if info.type not in _FILES:
        return f"{name} is {_type(info)}, not a file"
    if info.name in [file.name for file in files]:
        return f"{name} stands in another place than in its manifest, or twice"
    return f"{name} is not in its manifest"


def _type(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return f"a link to {info.linkname!a}"
    if info.isdir():
        return "a folder"
    return "a device" if info.isdev() else "an extended header or unknown kind of member"


def _kind(block: bytes) -> str:
    kinds = {b"\x1f\x8b": "gzip", b"PK": "a zip archive", b"<": "HTML or XML", b"{": "JSON"}
    known = (name for start, name in kinds.items() if block.lstrip().startswith(start))
    return next(known, "other bytes" if block else "nothing: the file is empty or ends here")
