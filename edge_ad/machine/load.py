"""How busy other processes keep this computer's processors."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STAT = Path("/proc/stat")


class OtherLoad:
    """The cores that other processes kept busy between two calls, where Linux counts them."""

    def __init__(self, stat: Path = _STAT) -> None:
        self._stat = stat
        self._before = self._read()

    def cores(self) -> float:
        """Return the mean since the last call, 0 where it is unknown."""
        before, self._before = self._before, self._read()
        wall_s = self._before[0] - before[0]
        return max(0.0, (self._before[1] - before[1]) / wall_s) if wall_s > 0 else 0.0

    def _read(self) -> tuple[float, float]:
        """Return the time, and the processor time of all processes but this one, in seconds."""
        try:
            user, nice, system, _, _, irq, softirq, *_ = map(
                int, self._stat.read_text().split("\n", 1)[0].split()[1:]
            )
        except (OSError, ValueError):
            return time.monotonic(), 0.0
        busy_s = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
        own = os.times()
        return time.monotonic(), busy_s - own.user - own.system
