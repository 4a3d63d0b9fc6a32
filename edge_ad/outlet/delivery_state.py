"""What a delivery remembers: pauses, events not saved as delivered yet, and the outlet's fault."""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from edge_ad.errors import Refused
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.outbox import DeadLetter, note_error, settle
from edge_ad.store.store import Store

_log = logging.getLogger(__name__)

_SAVE_EVERY_S = 0.2  # a crash repeats at most what was delivered since
_UNSAVED = 1_000  # delivered events to remember when the store cannot be written
_STEADY_S = 10.0  # without trouble, before a fault has ended
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)  # OpenSSL's codes: self-signed, or without its issuer


@dataclass
class Pauses:
    """Pauses between attempts: they double from `first_s` to `longest_s`, and vary by a half."""

    first_s: float = 0.5
    longest_s: float = 10.0
    vary: Callable[[], float] = random.random
    _next_s: float = field(default=0.0, init=False)

    def next_s(self) -> float:
        """Return the next pause."""
        pause = max(self._next_s, self.first_s)
        self._next_s = min(2 * pause, self.longest_s)
        return pause * (0.5 + self.vary() / 2)

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._next_s = 0.0


class Settled:
    """Events that an outlet has acknowledged or refused, until the store knows it.

    `unsaved` are their numbers. They are saved together, a few times a second.
    """

    def __init__(self, outlet: str, store: Store) -> None:
        self._outlet, self._store = outlet, store
        self._lock = threading.Condition()
        self._events: dict[int, DeadLetter | None] = {}
        self._saving: tuple[int, ...] = ()
        self._queued = False
        self._saved_s = time.monotonic()
        self.delivered = self.dead = 0

    @property
    def unsaved(self) -> frozenset[int]:
        with self._lock:
            return frozenset(self._events)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until more can be remembered; return False after `timeout_s`."""
        if len(self._events) >= _UNSAVED:
            self.save()
        with self._lock:
            return self._lock.wait_for(lambda: len(self._events) < _UNSAVED, timeout_s)

    def add(self, seq: int, dead: DeadLetter | None = None) -> None:
        """Note that an event was acknowledged, or that it is a dead letter."""
        with self._lock:
            self._events[seq] = dead
            self.dead += dead is not None
            self.delivered += dead is None
        self.save_if_due()

    def due_s(self, otherwise_s: float) -> float:
        """Return when to save."""
        if not self._events or self._queued:
            return otherwise_s
        return max(0.0, self._saved_s + _SAVE_EVERY_S - time.monotonic())

    def save_if_due(self) -> None:
        """Save unless that was done a moment ago."""
        if self._events and self.due_s(1.0) == 0.0:
            self.save()

    def save(self) -> None:
        """Hand what is settled to the store, once until it is committed."""
        with self._lock:
            if not self._events or self._queued:
                return
            self._queued = True
            self._saved_s = time.monotonic()
        if not self._store.put(self._write, records=0):
            self._queued = False

    def committed(self) -> None:
        """Forget what the store has, after a commit."""
        with self._lock:
            for seq in self._saving:
                del self._events[seq]
            self._queued = self._queued and not self._saving
            self._saving = ()
            self._lock.notify_all()

    def _write(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            events = dict(self._events)
            self._saving = tuple(events)
        delivered = [seq for seq, dead in events.items() if dead is None]
        buried = {seq: dead for seq, dead in events.items() if dead is not None}
        settle(connection, self._outlet, delivered, buried)


class OutletFault:
    """The fault of an outlet: one event when it begins and one when it has ended.

    It ends when nothing went wrong for ten seconds, so that a flapping peer has one fault.
    """

    def __init__(self, outlet: str, store: Store) -> None:
        self._outlet, self._store = outlet, store
        self._reason = ""
        self._began_s = self._noted_s = self._newest_s = float("-inf")
        self._dead = self._dead_before = 0

    def trouble(self, reason: str, dead: int) -> None:
        """Note that a delivery failed; `dead` counts the outlet's dead letters."""
        now = time.monotonic()
        if not self._reason:
            self._dead_before, self._began_s = self._dead, now
            _log.warning("%s: %s. Its events wait in the store.", self._outlet, reason)
            self._record("new", reason)
        elif reason == self._reason or now - self._noted_s < _STEADY_S:
            self._newest_s, self._dead = now, dead
            return
        self._reason, self._noted_s = reason, now
        self._newest_s, self._dead = now, dead
        self._store.put(partial(note_error, outlet=self._outlet, reason=reason), records=0)

    def steady(self) -> None:
        """Note that all is well."""
        if self._reason and time.monotonic() - self._newest_s >= _STEADY_S:
            _log.warning("%s: takes events again", self._outlet)
            self._end("takes events again")

    def stands_s(self) -> float:
        """Return how long it has stood, 0 without a fault."""
        return time.monotonic() - self._began_s if self._reason else 0.0

    def stopped(self) -> None:
        """End it with the line."""
        if self._reason:
            self._end(f"the line stopped; before: {self._reason}")

    def _end(self, reason: str) -> None:
        self._record("end", reason, self._dead - self._dead_before)
        self._reason = ""

    def _record(self, step: str, reason: str, dead: int = 0) -> None:
        count = dead or None
        self._store.record(
            StoreEvent(
                EventType.OUTLET_FAULT, step, source=self._outlet, reason=reason, count=count
            )
        )


def reason_of(error: Exception) -> str:
    """Return what went wrong in words; an outlet's own bug with its class."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        unknown = error.verify_code in _UNKNOWN_AUTHORITY
        hint = ". For a certificate of your own: ca=FILE" if unknown else ""
        return f"its certificate is not trusted ({error.verify_message.rstrip('.')}){hint}"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    if isinstance(error, Refused):
        return str(error)
    return f"{type(error).__name__}: {error}"
