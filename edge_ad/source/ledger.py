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
    cut off by a crash is ignored: its file is judged again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._states: dict[str, FileState] = {}
        self._file = -1
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
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

    def knows(self, name: str) -> bool:
        """Return whether a file of this name was judged, in whichever state."""
        return name in self._states

    def add(self, state: FileState) -> None:
        """Remember a judged file. Raises OSError when the ledger cannot be written."""
        self._states[state.name] = state
        os.write(self._file, _line(state))

    def forget_all_but(self, names: Collection[str]) -> None:
        """Drop files that are gone, once they are many; an empty folder may be unmounted."""
        if not names or len(self._states) <= 2 * len(names) + _SPARE:
            return
        kept = {name: state for name, state in self._states.items() if name in names}
        os.ftruncate(self._file, 0)  # cut off here by a crash, files are judged again: never missed
        os.write(self._file, b"".join(map(_line, kept.values())))
        self._states = kept

    def close(self) -> None:
        """Release the file; a second call does nothing."""
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


def _line(state: FileState) -> bytes:
    return json.dumps(state).encode() + b"\n"
