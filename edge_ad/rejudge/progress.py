"""How far a job is, how fast it goes, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_ad.rejudge.job import RejudgeJob

_EVERY_S, _EVERY_S_IN_LOG = 1.0, 30.0


class RejudgeProgress:
    """Prints a line now and then: every second on a terminal, every 30 s in a log."""

    def __init__(self, job: RejudgeJob, show: Callable[[str], None], *, terminal: bool) -> None:
        self._job, self._show = job, show
        self._every_s = _EVERY_S if terminal else _EVERY_S_IN_LOG
        self._began = self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._began

    def update(self) -> None:
        """Print the state, unless it was printed just before."""
        now = time.monotonic()
        if now - self._last >= self._every_s:
            self._last = now
            self._show(self.text())

    def text(self) -> str:
        """Return a line such as `5120 of 92000 images, 45.1 images/s, 32 min left`."""
        job = self._job
        rate = (job.judged - job.resumed) / max(self.seconds, 1e-9)
        done = f"{job.judged} of {job.images} images"
        if not rate:
            return done
        return f"{done}, {rate:.3g} images/s, {time_left((job.images - job.judged) / rate)} left"


def time_left(seconds: float) -> str:
    """Return seconds as a rounded duration: `40 s`, `32 min`, `7.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
