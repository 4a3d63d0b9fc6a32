"""Speak to systemd as the main process of a service (sd_notify(3)): one datagram a message."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class SystemdNotifier:
    """Sends states to the socket that systemd names; outside a service it does nothing.

    `watchdog_s` is the time within which systemd wants the next `WATCHDOG=1`, None without one.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = _watchdog_s(environment)
        self._reached = True

    @property
    def is_service(self) -> bool:
        """Whether systemd listens."""
        return bool(self._address)

    def send(self, **states: object) -> None:
        """Send states such as READY=1 and STATUS="..."; a failure changes nothing.

        The first failure is a warning, and each one after a success.
        """
        if not self._address:
            return
        lines = [f"{name}={str(value).replace(chr(10), ' ')}" for name, value in states.items()]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(1.0)
                channel.sendto("\n".join(lines).encode(), self._address)
            self._reached = True
        except OSError as error:
            if self._reached:
                _log.warning(
                    "systemd cannot be reached at NOTIFY_SOCKET=%s (%s). The line runs; a service "
                    "of Type=notify is ended and started again by its time limits.",
                    self._address.replace("\0", "@"),
                    error,
                )
            self._reached = False


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Return the watchdog's time, unless it is meant for another process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        seconds = int(environment["WATCHDOG_USEC"]) / 1e6
    except (KeyError, ValueError):
        return None
    return seconds if seconds > 0 else None
