"""Who may read, and who may call methods."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable

from edge_ad.opcua.settings import ServerSettings

FAILURES, WINDOW_S = 5, 60.0  # failed logins of one address after which it has to wait
_ADDRESSES = 256


class Logins:
    """Checks names and passwords; an address that fails too often has to wait."""

    def __init__(
        self, settings: ServerSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._users, self._clock = settings.users, clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, name: str, password: str, address: str) -> str:
        """Return why a login is refused; empty when it is right."""
        now = self._clock()
        failed = [at for at in self._failures.get(address, []) if now - at < WINDOW_S]
        if len(failed) >= FAILURES:
            return f"{FAILURES} failed logins within {WINDOW_S:g} s"
        expected = self._users.get(name, "")
        right = hmac.compare_digest(expected.encode(), password.encode("utf-8", "surrogatepass"))
        if right and expected:
            self._failures.pop(address, None)
            return ""
        self._failures[address] = [*failed, now]
        self._failures.move_to_end(address)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)
        return "wrong name or password"
