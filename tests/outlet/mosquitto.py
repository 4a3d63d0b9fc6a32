"""A real broker for tests: Mosquitto on a free loopback port, and a subscriber."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.timing import LIMIT_S

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Mosquitto:
    """A broker with a configuration; it may be stopped and started again on the same port."""

    def __init__(self, folder: Path, *config: str) -> None:
        if PROGRAM is None:
            pytest.skip("mosquitto is not installed (apt install mosquitto)")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._config = folder / f"mosquitto-{self.port}.conf"
        settings = config or ("allow_anonymous true",)
        lines = [
            f"listener {self.port} 127.0.0.1",
            "user root",
            "persistence true",
            f"persistence_location {folder}/",
            f"persistence_file mosquitto-{self.port}.db",
            *settings,
        ]
        self._config.write_text("\n".join(lines) + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Mosquitto:
        assert PROGRAM is not None
        self.process = subprocess.Popen(
            [PROGRAM, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return self
            time.sleep(0.01)
        raise AssertionError("mosquitto does not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()  # it then keeps what its clients have not received
            self.process.wait()
            self.process = None

    def __enter__(self) -> Mosquitto:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Subscriber:
    """Receives everything below a topic, with QoS 1; it stays subscribed when the broker restarts.

    `messages` are topic, payload and whether it was retained.
    """

    def __init__(self, port: int, topic: str = "#", **options: Any) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self.on_message: Callable[[str], None] = lambda topic: None
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, "subscriber", clean_session=False)
        if "user" in options:
            self._client.username_pw_set(options["user"], options["password"])
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(LIMIT_S)

    def _on_message(self, client: Client, data: Any, message: Any) -> None:
        self.messages.append((message.topic, message.payload.decode(), message.retain))
        self.on_message(message.topic)

    def of(self, topic: str) -> list[Any]:
        """Return the payloads of a topic, as JSON where they are."""
        return [
            json.loads(payload) if payload.startswith("{") else payload
            for name, payload, _ in list(self.messages)
            if name == topic
        ]

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, 1, retain).wait_for_publish(LIMIT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def subscriber(port: int, topic: str = "#", **options: Any) -> Iterator[Subscriber]:
    one = Subscriber(port, topic, **options)
    try:
        yield one
    finally:
        one.close()
