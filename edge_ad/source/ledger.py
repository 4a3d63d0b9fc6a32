"""Which files of a watched folder have been judged, remembered over restarts."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from edge_ad.errors import UsageError

_SPARE = 10_000  # entries of files that are gone, before they are dropped


class FileState(NamedTuple):
    """A file as it was judged: one that was written again since then is another."""

    name: str
    size: int
    mtime_ns: int


class Ledger:
    """A file with one judged file a line, appended at once and held by one run at a time.

    Raises UsageError when it cannot be written, or when another run holds it. A last line that was
    cut off by a crash is ignored: its file is judged again. What a full disk did not take is
    written with the next entry; when the file has gone with its folder, it is opened again there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._states: dict[str, FileState] = {}
        self._unwritten = b""
        self._keep_up_to = _SPARE
        self._file = -1
        try:
            self._file = _open(path)
            self._read()
        except OSError as error:
            self.close()
            if isinstance(error, BlockingIOError):
                raise UsageError(
                    f"{path}: another run watches with this ledger. Give each run one of its own: "
                    "watch:DIR?ledger=FILE"
                ) from error
            raise UsageError(
                f"{path}: the list of judged files cannot be written ({error.strerror}). Name a "
                "file elsewhere: watch:DIR?ledger=FILE"
            ) from error

    def __contains__(self, state: FileState) -> bool:
        return self._states.get(state.name) == state

    def add(self, state: FileState) -> None:
        """Remember a judged file, also one whose verdict comes after `close`.

        Raises OSError when the ledger cannot be written yet.
        """
        self._states[state.name] = state
        self._unwritten += _line(state)
        is_closed = self._file < 0
        if is_closed or not self._is_in_place():
            self._open_again()
        while self._unwritten:
            self._unwritten = self._unwritten[os.write(self._file, self._unwritten) :]
        if is_closed:
            self.close()

    def forget_all_but(self, names: Collection[str]) -> None:
        """Drop files that are gone, once they are many; an empty folder may be unmounted.

        The file is replaced as a whole: a crash or a full disk leaves the old one.
        """
        if not names or len(self._states) <= 2 * len(names) + self._keep_up_to:
            return
        kept = {name: state for name, state in self._states.items() if name in names}
        try:
            file = _written(self.path, b"".join(map(_line, kept.values())))
        except OSError:
            self._keep_up_to += _SPARE  # tried again when there are more
            return
        self.close()
        self._file, self._states, self._unwritten = file, kept, b""
        self._keep_up_to = _SPARE

    def _is_in_place(self) -> bool:
        """Return whether the path still names the open file."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _open_again(self) -> None:
        """Go on with the file that is there now, as after a folder was made or mounted again."""
        file = _open(self.path)
        self.close()
        self._file = file
        before, self._states = self._states, {}
        self._read()
        missing = [state for state in before.values() if self._states.get(state.name) != state]
        self._states |= before
        self._unwritten = b"".join(map(_line, missing))

    def close(self) -> None:
        """Release the file; a second call does nothing. Other runs may hold it then."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _read(self) -> None:
        text = self.path.read_bytes()
        if text and not text.endswith(b"\n"):
            os.write(self._file, b"\n")
        for line in text.splitlines():
            try:
                name, size, mtime_ns = json.loads(line)
            except (ValueError, TypeError):
                continue
            self._states[name] = FileState(name, size, mtime_ns)


def _open(path: Path) -> int:
    """Open a ledger and lock it. Raises BlockingIOError when another run holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


def _written(path: Path, content: bytes) -> int:
    """Replace a ledger by one with this content, locked from the start; return it open."""
    new = path.with_name(f"{path.name}.new")
    file = _open(new)
    try:
        os.ftruncate(file, 0)
        while content:
            content = content[os.write(file, content) :]
        os.replace(new, path)
    except OSError:
        os.close(file)
        new.unlink(missing_ok=True)
        raise
    return file


def _line(state: FileState) -> bytes:
    return json.dumps(state).encode() + b"\n"
