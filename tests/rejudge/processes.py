"""The processes below one, and the addresses at which they listen, as Linux shows them in /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_LISTENS = "0A"
LOOPBACK = {  # as in /proc/net/tcp and tcp6: 127.0.0.1, the same in IPv6, ::1
    "0100007F",
    "0000000000000000FFFF00000100007F",
    "00000000000000000000000001000000",
}


def descendants(pid: int) -> dict[int, str]:
    """Return the processes that a process has started, and those that they have, with names."""
    parents, names = dict[int, int](), dict[int, str]()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            parents[int(entry.name)], names[int(entry.name)] = int(rest.split()[1]), name
    below, last = set[int](), {pid}
    while last := {child for child, parent in parents.items() if parent in last} - below:
        below |= last
    return {child: names[child] for child in below}


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and is only not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(") ")[2][:1] not in {"Z", "X"}


def listeners(pid: int) -> set[str]:
    """Return the addresses at which a process listens, in hexadecimal digits as in /proc/net."""
    inodes = set(_sockets(pid))
    lines = [*Path("/proc/net/tcp").open(), *Path("/proc/net/tcp6").open()]
    sockets = [line.split() for line in lines]
    return {
        fields[1].partition(":")[0]
        for fields in sockets
        if fields[3] == _LISTENS and fields[9] in inodes
    }


def _sockets(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(handle)
                if target.startswith("socket:["):
                    yield target[8:-1]
