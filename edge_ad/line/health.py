"""Whether a line does its work, for the watchdog of the system that started it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edge_ad.line.camera import Camera
from edge_ad.line.supervisor import Supervisor
from edge_ad.machine.systemd import SystemdNotifier

_log = logging.getLogger(__name__)
_STATUS_EVERY_S = 10.0


class Watchdog:
    """Feeds systemd's watchdog as long as every camera is judged, waited for or opened again.

    `step` is called a few times a second by the thread that owns the line. A frame under way for
    half of the watchdog's time, or a store whose writer is gone, ends the feeding: systemd then
    kills the process and starts it again.
    `store_problem` returns why nothing is recorded any more, empty when something is.
    """

    def __init__(
        self,
        line: Supervisor,
        notifier: SystemdNotifier,
        store_problem: Callable[[], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line, self._notifier, self._clock = line, notifier, clock
        self._store_problem = store_problem
        self._fed_s = self._status_s = float("-inf")
        self._problem = self._status = ""

    def started(self) -> None:
        """Report that the line judges."""
        self._notifier.send(READY=1, WATCHDOG=1)
        self._fed_s = self._clock()

    def stopping(self) -> None:
        """Report that the line ends, which may take a few seconds."""
        self._notifier.send(STOPPING=1)

    def step(self) -> None:
        """Feed the watchdog when it is due and nothing is wrong, and report the line's status."""
        if not self._notifier.is_service:
            return
        now = self._clock()
        if now - self._status_s >= _STATUS_EVERY_S:
            self._status_s = now
            self._send_status()
        limit_s = self._notifier.watchdog_s
        if limit_s is None or now - self._fed_s < limit_s / 4:
            return
        problem = self.problem(limit_s / 2)
        if not problem:
            self._fed_s = now
            self._notifier.send(WATCHDOG=1)
        elif problem != self._problem:
            _log.error("%s. The watchdog will start the line again.", problem)
        self._problem = problem

    def problem(self, limit_s: float) -> str:
        """Return what does not work, empty when everything does."""
        for camera in self._line.cameras:
            since = camera.tally.under_way_since
            if since is not None and self._clock() - since > limit_s:
                return f"{camera.name}: a frame has been under way for more than {limit_s:g} s"
        return self._store_problem()

    def _send_status(self) -> None:
        """Send one line for `systemctl status`, when it has changed."""
        status = format_status(self._line.cameras)
        if status != self._status:
            self._status = status
            self._notifier.send(STATUS=status)


def format_status(cameras: list[Camera]) -> str:
    """Return counts of all cameras, and those in fault or paused."""
    tallies = [camera.tally for camera in cameras]
    frames, rejected = sum(t.frames for t in tallies), sum(t.rejected for t in tallies)
    text = f"{frames} frames, {rejected} rejected, {sum(t.invalid for t in tallies)} invalid"
    for state, names in (
        ("in fault", [camera.name for camera in cameras if camera.alarm.has_fault]),
        ("paused", [camera.name for camera in cameras if camera.pause.on]),
    ):
        text += f"; {state}: {', '.join(names)}" if names else ""
    return text
