"""Deliver the events that wait in a store's outbox, in a thread for each outlet."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from edge_ad.errors import Refused
from edge_ad.outlet.delivery_state import OutletFault, Pauses, Settled, reason_of
from edge_ad.outlet.durable import DurableOutlet, Record, TryLater
from edge_ad.store.outbox import DeadLetter, Subscription, subscribe, waiting
from edge_ad.store.schema import connect_reading
from edge_ad.store.store import Store
from edge_ad.store.writer import Job

_log = logging.getLogger(__name__)

_AT_ONCE = 100  # events read at a time: what a backlog of any length costs in memory
_IDLE_S = 1.0  # between looks for events that somebody lets wait again, and at the connection
_DRAIN_S = 5.0  # at the end of a line
_HOPELESS_S = 5.0  # a fault that stands so long is not waited for at the end
_AFTER_CLOSE_S = 1.0  # for a delivery that closing the outlet ends


class Delivery:
    """The thread of one outlet. `delivered` and `dead` count since the start."""

    def __init__(self, outlet: DurableOutlet, store: Store) -> None:
        self._outlet, self._store = outlet, store
        self._settled = Settled(outlet.name, store)
        self._fault = OutletFault(outlet.name, store)
        self._refusals: dict[int, int] = {}
        self._pauses = Pauses()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._until_s = float("inf")
        self._connection: sqlite3.Connection | None = None
        self._replaced = threading.Event()
        self._thread = threading.Thread(target=self._work, name=outlet.name, daemon=True)
        store.committed.append(self._committed)
        store.rescued.append(self._replaced.set)
        self._thread.start()

    @property
    def outlet(self) -> DurableOutlet:
        """The outlet that it delivers to."""
        return self._outlet

    @property
    def delivered(self) -> int:
        """Events that the other side has acknowledged."""
        return self._settled.delivered

    @property
    def dead(self) -> int:
        """Events that became dead letters."""
        return self._settled.dead

    def stop(self, until_s: float) -> None:
        """Go on while it works, until `until_s` of the monotonic clock at most; do not wait."""
        self._until_s = until_s
        self._stop.set()
        self._wake.set()

    def join(self) -> None:
        """Wait for the end, and close the outlet; one that hangs in a delivery is left behind."""
        self._thread.join(max(0.0, self._until_s - time.monotonic()))
        hangs = self._thread.is_alive()
        try:
            self._outlet.close()
        except Exception as error:
            _log.error("%s: %s", self._outlet.name, reason_of(error))
        if hangs:
            self._thread.join(_AFTER_CLOSE_S)
        self._store.flush(_AFTER_CLOSE_S)  # a save under way does not have all
        self._settled.save()
        self._fault.stopped()

    def _committed(self) -> None:
        self._settled.committed()
        self._wake.set()

    def _work(self) -> None:
        while True:
            stopping = self._stop.is_set()
            self._wake.clear()
            pause_s = self._deliver_waiting()
            self._settled.save() if pause_s else self._settled.save_if_due()
            if stopping and (
                not pause_s or self._fault.stands_s() > _HOPELESS_S or self._is_over()
            ):
                break
            if stopping:
                time.sleep(min(pause_s, max(0.0, self._until_s - time.monotonic())))
            elif pause_s:
                self._stop.wait(pause_s)
            else:
                self._wake.wait(self._settled.due_s(_IDLE_S))
        self._disconnect()

    def _is_over(self) -> bool:
        return self._stop.is_set() and time.monotonic() > self._until_s

    def _deliver_waiting(self) -> float:
        """Deliver until nothing waits, and return 0, or the pause after what went wrong."""
        try:
            self._outlet.connect()
            while (records := self._read()) and not self._is_over():
                self._deliver(records)
                self._pauses.reset()
                self._settled.save_if_due()
        except sqlite3.Error as error:
            self._disconnect()
            _log.debug("%s: the store cannot be read (%s)", self._outlet.name, error)
            return self._pauses.next_s()
        except Exception as error:
            return self._note_trouble(error)
        self._fault.steady()
        return 0.0

    def _note_trouble(self, error: Exception) -> float:
        if not isinstance(error, (OSError, Refused)):
            _log.debug("%s: an error in it", self._outlet.name, exc_info=error)
        self._fault.trouble(reason_of(error), self._settled.dead)
        pause_s = self._pauses.next_s()
        if isinstance(error, (Refused, TryLater)) and error.retry_after_s is not None:
            return max(pause_s, error.retry_after_s)
        return pause_s

    def _read(self) -> list[Record]:
        if not self._settled.wait_for_room(_IDLE_S):  # the store cannot be written
            return []
        if self._replaced.is_set():
            self._replaced.clear()
            self._disconnect()
        if self._connection is None:
            self._connection = connect_reading(self._store.path)
        return waiting(self._connection, self._outlet.name, _AT_ONCE, self._settled.unsaved)

    def _deliver(self, records: Sequence[Record]) -> None:
        """Deliver records in order, as many at a time as the outlet allows."""
        under_way: deque[tuple[Record, Callable[[], None]]] = deque()
        for record in records:
            if self._is_over():
                break
            room = self._outlet.window
            try:
                under_way.append((record, self._outlet.send(record)))
            except Exception as error:
                under_way.append((record, partial(_raise, error)))
                room = 1  # those before it have their turn, then this error
            while len(under_way) >= room:
                self._finish(*under_way.popleft())
        while under_way:
            self._finish(*under_way.popleft())

    def _finish(self, record: Record, wait: Callable[[], None]) -> None:
        seq = int(record["seq"])
        try:
            wait()
        except Exception as error:
            if isinstance(error, OSError) or not self._is_dead(seq, error):
                raise
            return
        self._refusals.pop(seq, None)
        self._settled.add(seq)

    def _is_dead(self, seq: int, error: Exception) -> bool:
        """Count a refusal, and return whether it was the last attempt."""
        count = self._refusals[seq] = self._refusals.get(seq, 0) + 1
        if count < self._outlet.attempts:
            return False
        del self._refusals[seq]
        self._settled.add(seq, DeadLetter(count, reason_of(error)))
        self._fault.trouble(reason_of(error), self._settled.dead)
        return True

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _put_again(store: Store, job: Job) -> None:
    store.put(job, records=0)


def _raise(error: Exception) -> None:
    raise error


class Deliveries:
    """The deliveries of a line: all of its durable outlets, from a store, until the store closes.

    `default_types` of events go to outlets that name none. When the store closes, what waits is
    delivered for five seconds at most; the rest stays for the next start.
    """

    def __init__(
        self, store: Store, outlets: Sequence[DurableOutlet], default_types: Sequence[str]
    ) -> None:
        self._store = store
        subscriptions = [
            Subscription(outlet.name, outlet.types or tuple(default_types), outlet.cameras)
            for outlet in outlets
        ]
        subscribing = partial(subscribe, outlets=subscriptions)
        store.put(subscribing, records=0)
        store.rescued.append(lambda: _put_again(store, subscribing))
        for outlet in outlets:
            outlet.folder = store.path.parent
        self._deliveries = [Delivery(outlet, store) for outlet in outlets]
        store.closing.append(self._drain)

    def summary(self) -> list[Record]:
        """Return `outlet`, `delivered` and `dead` for each outlet, counted since the start."""
        return [
            {"outlet": each.outlet.name, "delivered": each.delivered, "dead": each.dead}
            for each in self._deliveries
        ]

    def _drain(self) -> None:
        if self._deliveries:
            self._store.flush(_DRAIN_S)
        until_s = time.monotonic() + _DRAIN_S
        for delivery in self._deliveries:
            delivery.stop(until_s)
        for delivery in self._deliveries:
            delivery.join()
