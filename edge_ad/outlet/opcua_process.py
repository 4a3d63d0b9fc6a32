"""Keep the OPC UA server running: start it, feed it, and start it again when it dies or hangs."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO

from edge_ad.errors import EdgeAdError
from edge_ad.opcua.settings import BEAT_S, LINGER_S, ServerSettings
from edge_ad.outlet.opcua_feed import Feed, Message
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.notes import acknowledge
from edge_ad.store.store import Store

_log = logging.getLogger(__name__)

_START_S = 300.0  # a computer with much else to do takes a minute
_PACE_S = 0.025  # between messages: clients are notified every 50 ms at most
_HANGS_S = 15.0  # without a sign of life
_FULL_S = 5.0  # that the server does not read
_STEADY_S = 10.0  # in which a server must live for its fault to end
COMMAND = (sys.executable, "-m", "edge_ad.opcua")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0


class ServerProcess:
    """The server's process and the thread that looks after it.

    A server that dies is one fault, which ends when one has lived for ten seconds; it is started
    again after a pause that doubles up to ten seconds.
    """

    def __init__(self, name: str, settings: ServerSettings, feed: Feed) -> None:
        self._name, self._settings, self._feed = name, settings, feed
        self._store: Store | None = None
        self._closing = threading.Event()
        self._server: _Server | None = None
        self._reason = ""  # of the fault that stands
        self._serving = threading.Event()
        self._pause_s = _FIRST_PAUSE_S
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start it, without waiting for it."""
        self._thread.start()

    def use_store(self, store: Store | None) -> None:
        """Record faults and acknowledgements in a store."""
        self._store = store

    def wait_until_serving(self) -> None:
        """Wait until clients can connect. Raises OSError when the server could not be started."""
        until_s = time.monotonic() + _START_S
        while not self._serving.wait(0.05):
            if self._reason or time.monotonic() > until_s:
                raise OSError(self._reason or "the server has not started")

    def close(self) -> None:
        """Let the server show that the line has stopped, and end it.

        Raises OSError when it was not running, or when rejects or alarms never reached it.
        """
        self._closing.set()
        self._thread.join(_FULL_S + LINGER_S + _FULL_S)
        if self._reason:
            reason, self._reason = self._reason, ""
            self._record("end", f"the line stopped; before: {reason}")
            raise OSError(reason)
        if self._feed.dropped:
            raise OSError(f"the server was too slow for {self._feed.dropped} rejects and alarms")

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                self._serve()
            except OSError as error:
                self._trouble(error.strerror or str(error))
                self._closing.wait(self._pause_s)
                self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _serve(self) -> None:
        """Serve with one process until the line stops. Raises OSError when it dies or hangs."""
        server = _Server(self._settings, self._on_message)
        self._server = server
        try:
            if not server.wait_until_ready(self._closing):
                return
            server.send(self._feed.everything())
            self._serving.set()
            began_s = time.monotonic()
            while not self._closing.is_set():
                server.check()
                server.send([*self._feed.take(BEAT_S), {"beat": True}])
                self._closing.wait(_PACE_S)
                if time.monotonic() - began_s > _STEADY_S:
                    self._steady()
            self._steady()
            server.send([*self._feed.take(0.0), {"stop": True}])
            server.wait(LINGER_S + _FULL_S)
        finally:
            server.kill()

    def _on_message(self, message: Message) -> None:
        if "report" in message:
            _log.warning("%s: %s", self._name, message["report"])
        if "acknowledge" in message:
            asked = message["acknowledge"]
            error = self._acknowledge(asked["alarm"], asked["who"], asked["comment"])
            assert self._server is not None
            self._server.send([{"acknowledged": asked["number"], "error": error}])

    def _acknowledge(self, alarm: str, who: str, comment: str) -> str:
        """Record an acknowledgement, and return why it could not be."""
        if self._store is not None:
            try:
                self._store.flush(1.0)  # the alarm may be on its way
                acknowledge(self._store.path.parent, [alarm], who, comment)
            except EdgeAdError as error:
                _log.warning("%s: alarm %s: not acknowledged: %s", self._name, alarm, error)
                return str(error)
        self._feed.acknowledged(alarm, who, comment)
        return ""

    def _trouble(self, reason: str) -> None:
        if self._closing.is_set():
            return
        if not self._reason:
            _log.warning("%s: %s. It is started again.", self._name, reason)
            self._record("new", reason)
        self._reason = reason

    def _steady(self) -> None:
        self._pause_s = _FIRST_PAUSE_S
        if self._reason:
            self._reason = ""
            _log.warning("%s: runs again", self._name)
            self._record("end", "runs again")

    def _record(self, step: str, reason: str) -> None:
        if self._store is not None:
            event = StoreEvent(EventType.OUTLET_FAULT, step, source=self._name, reason=reason)
            self._store.record(event)


class _Server:
    """One process; `on_message` receives its messages, in a thread."""

    def __init__(self, settings: ServerSettings, on_message: Callable[[Message], None]) -> None:
        self._on_message = on_message
        self._ready = threading.Event()
        self._failed = ""
        self._last_message_s = time.monotonic()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the line
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input = self._process.stdin.fileno()
        os.set_blocking(self._input, False)
        self._write(settings.to_json().encode() + b"\n")
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name="opcua answers", daemon=True
        )
        self._reader.start()

    def wait_until_ready(self, closing: threading.Event) -> bool:
        """Wait until clients can connect; return false when the line stops before. Raises OSError.

        A line that ends so early leaves nothing to show.
        """
        until_s = time.monotonic() + _START_S
        while not self._ready.wait(0.1):
            self._check_alive()
            if closing.is_set():
                return False
            if time.monotonic() > until_s:
                raise TimeoutError(f"the server has not started within {_START_S:g} s")
        return True

    def check(self) -> None:
        """Raise OSError when the process has died or hangs."""
        self._check_alive()
        if time.monotonic() - self._last_message_s > _HANGS_S:
            raise TimeoutError(f"the server has not answered for {_HANGS_S:g} s")

    def send(self, messages: list[Message]) -> None:
        """Send messages. Raises OSError."""
        self._write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def wait(self, timeout_s: float) -> None:
        """Wait for the end."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError("the server did not end, and was killed") from error

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(_FULL_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _check_alive(self) -> None:
        code = self._process.poll()
        if code is None:
            return
        self._reader.join(1.0)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        raise OSError(f"the server ended: {self._failed or how}")

    def _write(self, data: bytes) -> None:
        """Write all of it. Raises OSError when the process has died or does not read."""
        with self._lock:
            until_s = time.monotonic() + _FULL_S
            view = memoryview(data)
            while view:
                try:
                    view = view[os.write(self._input, view) :]
                except BlockingIOError:
                    if time.monotonic() > until_s:
                        raise TimeoutError(f"the server has not read for {_FULL_S:g} s") from None
                    select.select([], [self._input], [], 0.1)
                except BrokenPipeError:
                    self._process.wait(_FULL_S)
                    self._check_alive()
                    raise

    def _read(self, answers: IO[bytes]) -> None:
        for line in answers:
            self._last_message_s = time.monotonic()
            message: Message = json.loads(line)
            if "ready" in message:
                self._ready.set()
            self._failed = message.get("failed", self._failed)
            try:
                self._on_message(message)
            except OSError as error:  # it died meanwhile
                _log.debug("%s", error)
