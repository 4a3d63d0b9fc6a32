"""Let people in: logins, their limits, sessions, and the record of both."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_ad.control.refusals import Refusals
from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.page.person import Person, Role
from edge_ad.page.users import LONGEST_PASSWORD, UserFile, is_password
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.notes import add_event

_log = logging.getLogger(__name__)
ANONYMOUS = Person("", Role.ANONYMOUS)
# failed logins of one address, and the seconds within which they count
_LIMITS = ((1, 1.0), (5, 60.0), (20, 3600.0))
_ADDRESSES = 1000
_SESSIONS = 200
_IDLE_S, _LONGEST_S = 12 * 3600.0, 7 * 86400.0  # a screen on the wall asks all the time
_CHECKS_WITHIN_S = 1.0  # one password at a time: a flood of logins gets one processor core


class LoginRefused(UsageError):
    """A wrong name or password."""


class TooManyLogins(UsageError):
    """An address has to wait before its next login."""


class LoginLimits:
    """Counts failed logins of each address; those of an IPv6 network count as one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, address: str) -> float:
        """Count an attempt as failed; return the seconds to wait instead, 0.0 when it may be."""
        key, now = _network(address), self._clock()
        with self._lock:
            failed = [at for at in self._failed.get(key, ()) if now - at < _LIMITS[-1][1]]
            for most, within_s in _LIMITS:
                recent = [at for at in failed if now - at < within_s]
                if len(recent) >= most:
                    return recent[-most] + within_s - now
            self._failed[key] = [*failed, now]
            self._failed.move_to_end(key)
            while len(self._failed) > _ADDRESSES:
                self._failed.popitem(last=False)
        return 0.0

    def succeeded(self, address: str) -> None:
        """Forget the failed logins of an address."""
        with self._lock:
            self._failed.pop(_network(address), None)


@dataclass(slots=True)
class _Session:
    name: str
    password: str  # the hash: a new password ends the session
    began_s: float
    used_s: float


class Door:
    """The logins and sessions of a page. Any thread may call it.

    `folder` is the line's, for the record: who logged in and out, and refused logins, reported once
    an hour for each address with their count.
    """

    def __init__(
        self, users: UserFile, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._users, self._folder, self._clock = users, folder, clock
        self._limits = LoginLimits(clock)
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._lock, self._checks = threading.Lock(), threading.Lock()
        self._refusals = Refusals(self._record_refused, clock)

    def log_in(self, name: str, password: str, address: str) -> str:
        """Return the token of a new session. Raises LoginRefused or TooManyLogins."""
        wait_s = self._limits.begin(address)
        if wait_s > 0 or not self._checks.acquire(timeout=_CHECKS_WITHIN_S):
            self._refusals.add(address, "too many logins")
            raise TooManyLogins(f"{max(1, round(wait_s + 0.5))}")
        try:
            user = self._users.read().get(name)
            right = is_password(user, password[:LONGEST_PASSWORD])
        finally:
            self._checks.release()
        if not right or user is None:
            self._refusals.add(address, "wrong name or password")
            raise LoginRefused("wrong name or password.")
        self._limits.succeeded(address)
        self._record("login", name, address)
        return self._begin(name, user.password)

    def person(self, token: str) -> Person:
        """Return who has a session; somebody without a role when it is unknown or over."""
        with self._lock:
            session = self._sessions.get(token)
            now = self._clock()
            if session is None:
                return ANONYMOUS
            if now - session.used_s > _IDLE_S or now - session.began_s > _LONGEST_S:
                del self._sessions[token]
                return ANONYMOUS
            session.used_s = now
        try:
            user = self._users.read().get(session.name)
        except UsageError:
            return ANONYMOUS
        if user is None or not hmac.compare_digest(user.password, session.password):
            return ANONYMOUS
        return Person(session.name, user.role)

    def log_out(self, token: str, address: str) -> None:
        """End a session."""
        with self._lock:
            session = self._sessions.pop(token, None)
        if session is not None:
            self._record("logout", session.name, address)

    def _begin(self, name: str, password: str) -> str:
        token, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._sessions[token] = _Session(name, password, now, now)
            while len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        return token

    def _record_refused(self, address: str, reason: str, count: int) -> None:
        self._record("refused", "", address, reason, count)

    def _record(
        self, step: str, who: str, address: str, reason: str = "", count: int | None = None
    ) -> None:
        event = StoreEvent(
            EventType.PAGE, step=step, who=who, source=address, reason=reason, count=count
        )
        try:
            add_event(self._folder, event)
        except EdgeAdError as error:
            _log.warning("%s of %s at %s is not recorded: %s", step, who or "?", address, error)


def _network(address: str) -> str:
    """Return what counts as one address: a whole network of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address
