"""A real Mosquitto and a subscriber that notes what comes, for measurements."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
PREFIX = "soak"


class Broker:
    """A Mosquitto on a free port that keeps its sessions when it is stopped."""

    def __init__(self, folder: Path) -> None:
        if PROGRAM is None:
            sys.exit("mosquitto is not installed: apt install mosquitto")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n"
            f"persistence_location {folder}/\nmax_queued_messages 0\nset_tcp_nodelay true\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}/{PREFIX}?events=reject"

    def start(self) -> None:
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [PROGRAM, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


class Hall:
    """A subscriber: the ids of events in the order in which they came, and topics with times."""

    def __init__(self, port: int, slow_s: float = 0.0) -> None:
        self.ids: list[str] = []
        self.times: dict[str, list[tuple[float, bytes]]] = {"events": [], "verdict": []}
        self._slow_s, ready = slow_s, threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, "hall", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(f"{PREFIX}/events", 1), (f"{PREFIX}/+/verdict", 0)]
        )
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        ready.wait()

    def _on_message(self, client: Client, data: Any, message: Any) -> None:
        name = message.topic.rsplit("/", 1)[1]
        self.times[name].append((time.time(), message.payload))
        if name == "events":
            self.ids.append(json.loads(message.payload)["id"])
            time.sleep(self._slow_s)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
