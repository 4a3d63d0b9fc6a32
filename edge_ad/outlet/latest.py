"""The newest value of each topic, sent by a thread: a slow broker skips values, not the line."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_ad.errors import Refused

if TYPE_CHECKING:
    from edge_ad.outlet.mqtt_session import MqttSession

_log = logging.getLogger(__name__)

MakePayload = Callable[[], bytes]


class LatestValues:
    """Sends the newest payload of each topic while there is a session, one message at a time.

    Retained ones are sent again at the beginning of each session.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[str, tuple[MakePayload, bool]] = {}
        self._retained: dict[str, tuple[MakePayload, bool]] = {}
        self._session: MqttSession | None = None
        self._sending = self._closed = False
        self._thread = threading.Thread(target=self._work, name="mqtt latest", daemon=True)
        self._thread.start()

    def put(self, topic: str, make_payload: MakePayload, *, retain: bool) -> None:
        """Replace the value of a topic. Without a session, what is not retained is dropped."""
        with self._changed:
            if retain:
                self._retained[topic] = (make_payload, True)
            if retain or self._session is not None:
                self._due[topic] = (make_payload, retain)
                self._changed.notify_all()

    def begin(self, session: MqttSession) -> None:
        """Send to a session from now on, at first what is retained."""
        with self._changed:
            self._session, self._due = session, dict(self._retained)
            self._changed.notify_all()

    def repeat(self) -> None:
        """Send what is retained again."""
        with self._changed:
            self._due = {**self._retained, **self._due}
            self._changed.notify_all()

    def end(self) -> None:
        """Send nothing until a session begins."""
        with self._changed:
            self._session = None
            self._due.clear()

    def flush(self, timeout_s: float) -> None:
        """Wait until all is sent, for a time at most."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._due or self._sending), timeout_s)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            session, topic, make_payload, retain = job
            try:
                session.wait(session.publish(topic, make_payload(), qos=0, retain=retain))
            except (OSError, Refused, ValueError, RuntimeError) as error:
                _log.debug("%s: not sent (%s)", topic, error)  # the delivery reports the outage
            with self._changed:
                self._sending = False
                self._changed.notify_all()

    def _next(self) -> tuple[MqttSession, str, MakePayload, bool] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._session and self._due))
            if self._closed or self._session is None:
                return None
            topic = next(iter(self._due))
            make_payload, retain = self._due.pop(topic)
            self._sending = True
            return self._session, topic, make_payload, retain
