"""One connection to an MQTT broker, from its beginning to its end; the next one is another.

paho would reconnect by itself and keep a queue in memory: both are the outbox's work here, so a
session that is lost is thrown away with everything in it.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_ad.errors import Refused

if TYPE_CHECKING:
    import ssl

_log = logging.getLogger(__name__)

_CONNECT_S = 5.0
_ANSWER_S = 10.0  # for CONNACK and PUBACK

OnMessage = Callable[[str, bytes, bool], None]  # topic, payload, whether it was retained


@dataclass(frozen=True)
class Broker:
    """Where a broker is, and who connects.

    `will` is a retained message for when the connection is lost, topic and payload; there is none
    with an empty topic.
    """

    host: str
    port: int
    client_id: str
    will: tuple[str, str]
    user: str | None = None
    password: str | None = None
    context: ssl.SSLContext | None = None
    version: int = 4  # of the protocol: 4 is MQTT 3.1.1, 5 is MQTT 5
    keepalive_s: int = 30


class MqttSession:
    """A connected session. Raises OSError when the broker cannot be reached or does not let it in.

    `lost` is why it ended, empty while it lasts. `on_message` is called in its thread.
    """

    def __init__(self, broker: Broker, window: int, on_message: OnMessage) -> None:
        self.lost = ""
        self._refused: dict[int, str] = {}
        self._largest = 0  # bytes of a packet; 0 means any
        self._answered, self._subscribed = threading.Event(), threading.Event()
        self._client = _client(broker, window)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._take = on_message
        try:
            self._client.connect(broker.host, broker.port, broker.keepalive_s)
            self._client.loop_start()
            self._wait_for_answer()
        except BaseException:
            self.close()
            raise

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> MQTTMessageInfo:
        """Begin to send a message. Raises OSError without a connection, Refused if too large."""
        self.check()
        if self._largest and len(payload) + len(topic) + 16 > self._largest:
            raise Refused(f"{len(payload)} bytes; the broker takes {self._largest} at most")
        return self._client.publish(topic, payload, qos, retain)

    def wait(self, info: MQTTMessageInfo, within_s: float | None = None) -> None:
        """Wait for the broker's acknowledgement, or until a message of QoS 0 is written.

        Raises OSError when the session is lost before or nothing came `within_s` (10 s), Refused
        when the broker does not take it.
        """
        within_s = within_s or _ANSWER_S
        until_s = time.monotonic() + within_s
        while not info.is_published():
            self.check()
            if time.monotonic() > until_s:
                self.lost = f"no acknowledgement in {within_s:g} s"
                self.check()
            info.wait_for_publish(0.2)
        if reason := self._refused.pop(info.mid, ""):
            raise Refused(f"the broker does not take it: {reason}")

    def subscribe(self, topics: Mapping[str, int]) -> None:
        """Receive messages on topics, each with its QoS, from some time soon."""
        self._subscribed.clear()
        self._client.subscribe(list(topics.items()))

    def wait_for_subscription(self) -> None:
        """Wait until the broker has answered the last subscription. Raises OSError."""
        if not self._subscribed.wait(_ANSWER_S):
            raise TimeoutError(f"no answer to a subscription in {_ANSWER_S:g} s")
        self.check()

    def check(self) -> None:
        """Raise ConnectionError when the session is lost."""
        if self.lost:
            raise ConnectionError(self.lost)

    def close(self) -> None:
        """Disconnect; messages that are not acknowledged are gone."""
        self.lost = self.lost or "closed"
        self._client.disconnect()
        self._client.loop_stop()

    def _wait_for_answer(self) -> None:
        if not self._answered.wait(_ANSWER_S):
            raise TimeoutError(f"no answer from a broker in {_ANSWER_S:g} s")
        self.check()

    def _on_connect(self, client: Client, data: Any, flags: Any, code: Any, extra: Any) -> None:
        if code.is_failure:
            self.lost = f"the broker refuses the connection: {code}"
        self._largest = getattr(extra, "MaximumPacketSize", 0)
        self._answered.set()

    def _on_disconnect(self, client: Client, data: Any, flags: Any, code: Any, extra: Any) -> None:
        self.lost = self.lost or f"the connection is lost: {code}"
        self._answered.set()
        self._subscribed.set()

    def _on_subscribe(self, client: Client, data: Any, mid: int, codes: Any, extra: Any) -> None:
        if refused := [str(code) for code in codes if code.is_failure]:
            _log.warning("%s: the broker refuses a subscription: %s", client.host, refused[0])
        self._subscribed.set()

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        try:
            self._take(message.topic, bytes(message.payload), bool(message.retain))
        except Exception:  # no message of others may end the thread of the connection
            _log.exception("%s: a message on %s", client.host, message.topic)

    def _on_publish(self, client: Client, data: Any, mid: int, code: Any, extra: Any) -> None:
        if code.is_failure:
            self._refused[mid] = str(code)


def _client(broker: Broker, window: int) -> Client:
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=broker.client_id,
        protocol=MQTTProtocolVersion(broker.version),
        reconnect_on_failure=False,
    )
    client.connect_timeout = _CONNECT_S
    client.on_socket_open = _send_at_once
    client.max_inflight_messages_set(window + 4)  # events, and the session's own messages
    if broker.will[0]:
        client.will_set(*broker.will, qos=1, retain=True)
    if broker.user is not None:
        client.username_pw_set(broker.user, broker.password)
    if broker.context is not None:
        client.tls_set_context(broker.context)
    return client


def _send_at_once(client: Client, data: Any, connection: Any) -> None:
    """Keep a small message from waiting 40 ms for the acknowledgement of the one before it."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
