"""Give way to the line: the priority of the processes beside it."""

from __future__ import annotations

import contextlib
import os


def give_way(nice: int) -> None:
    """Lower the priority of this process below the line's, also if it has the line's real-time one.

    Call it before it has threads. As batch work it takes no core from a thread at work when it
    wakes up. It is not for a thread of the line: one of low priority may hold what the others need.
    """
    with contextlib.suppress(OSError, AttributeError):  # a container may forbid it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.nice(nice)
