"""How much of this machine's processor other programs take."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from edge_ad.machine.host import ROOT

_LEAST_S = 0.2  # the kernel counts in hundredths of a second


class OtherWork:
    """Counts from its making on, on the cores that this process may use.

    The kernel's own figures (`/proc/stat`, proc(5)): time in which a core worked for anybody, a
    virtual machine's host included, without this process's own time and that of its ended children.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._begin()

    def cores(self) -> float | None:
        """Return the mean number of cores that others kept busy, None where it is not known.

        It is not after less than 0.2 s, nor without Linux's `/proc`.
        """
        elapsed_s, busy_s = time.monotonic() - self._began_s, self._busy()
        if busy_s is None or self._busy_s is None or elapsed_s < _LEAST_S:
            return None
        others_s = busy_s - self._busy_s - (_own() - self._own_s)
        return max(0.0, others_s / elapsed_s)

    def cores_since_last(self) -> float:
        """Return `cores` since the last such call, 0 where it is not known."""
        cores = self.cores()
        self._begin()
        return cores or 0.0

    def _begin(self) -> None:
        self._began_s, self._busy_s, self._own_s = time.monotonic(), self._busy(), _own()

    def _busy(self) -> float | None:
        """Return the seconds that the usable cores worked since the machine's start."""
        try:
            text = (self._root / "proc/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        cores = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        rows = [row for row in re.findall(r"^(cpu\d+)((?: \d+)+)$", text, re.M) if row[0] in cores]
        return sum(_ticks(row[1]) for row in rows) / os.sysconf("SC_CLK_TCK") if rows else None


def _ticks(fields: str) -> int:
    """Return user, nice, system, irq, softirq and steal; guest is in user already."""
    values = [int(value) for value in fields.split()]
    return sum(values[:3]) + sum(values[5:8])


def _own() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
