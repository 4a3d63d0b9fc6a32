"""State of one call of the command line, which errors are printed by, and its standard streams."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from dataclasses import dataclass

import click


@dataclass
class Session:
    """Whether results are JSON, and whether tracebacks are shown."""

    as_json: bool = False
    debug: bool = False


def current_session(ctx: click.Context) -> Session:
    """Return the session of a call; a fresh one when a test calls a verb directly."""
    session = ctx.find_root().obj
    return session if isinstance(session, Session) else Session()


class ClosedStream(io.TextIOBase):
    """Stands for a stdout that is closed (`>&-`): writing raises OSError, as to a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "closed before the command began")


class Stderr(io.TextIOWrapper):
    """A stderr on which what cannot be written is lost.

    A full disk under its log must neither end a line nor change an exit code.
    """

    def __init__(self, encoding: str) -> None:
        raw = io.FileIO(2, "w", closefd=False)  # a buffer would try to write the same again
        super().__init__(raw, encoding, "backslashreplace", write_through=True)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def repair_streams() -> None:
    """Occupy standard file descriptors that are closed, and let no failing stderr end a command.

    Without it the next file to be opened gets the number of stdout or stderr, and what libraries
    print goes into that file.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = ClosedStream()
    if sys.stderr is sys.__stderr__:  # a test has its own
        sys.stderr = Stderr(getattr(sys.stderr, "encoding", "utf-8"))


def discard_stdout() -> None:
    """Send what stdout still buffers to nowhere: it has failed, and would fail again at exit."""
    if isinstance(sys.stdout, ClosedStream):
        return
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # a test's stream has none
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
