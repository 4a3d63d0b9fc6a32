"""Where the socket of a line is."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOCKET = "control.sock"
ATTACHED = "attached"  # key of an answer: how many bytes follow its line
_LONGEST = 107  # bytes of a path in sockaddr_un, without its final zero


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Yield an address of `path` that fits a Unix socket, however long the path is."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect_to(path: Path, timeout_s: float) -> socket.socket:
    """Return a connected socket. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        with short_address(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection
