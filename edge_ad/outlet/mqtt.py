"""Publish events, verdicts and states of cameras to an MQTT broker.

PREFIX/available        online or offline, retained; offline is the will
PREFIX/events           durable events, QoS 1
PREFIX/CAMERA/verdict   the newest inspection, QoS 0, not retained
PREFIX/CAMERA/state     waiting, ok, alarm, fault, paused or stopped, retained
PREFIX/CAMERA/command   see `mqtt_commands`
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_ad.clock import now_utc
from edge_ad.errors import Refused
from edge_ad.event import AlarmEvent
from edge_ad.inspection import Inspection
from edge_ad.outlet.base import Ask, Evidence
from edge_ad.outlet.camera_state import CameraStates
from edge_ad.outlet.durable import DurableOutlet, Record
from edge_ad.outlet.homeassistant import discovery, discovery_topic
from edge_ad.outlet.latest import LatestValues
from edge_ad.outlet.mqtt_commands import MqttCommands
from edge_ad.outlet.mqtt_options import MqttOptions, parse_mqtt
from edge_ad.outlet.mqtt_session import Broker, MqttSession
from edge_ad.outlet.records import inspection_record
from edge_ad.setting import Setting, SettingChange
from edge_ad.uri import Uri

if TYPE_CHECKING:
    from edge_ad.store.store import Store

_WINDOW = 20
_GOODBYE_S = 1.0
_LEVEL = re.compile(r"[/+#$\x00-\x1f\x7f-\x9f]")  # what a level of a topic must not contain


def open_mqtt(uri: Uri) -> DurableOutlet:
    """Open `mqtt://HOST/PREFIX` or `mqtts://`. Raises UsageError for an invalid URI."""
    return MqttOutlet(parse_mqtt(uri))


class MqttOutlet(DurableOutlet):
    """Events are delivered when the broker has acknowledged them; twenty may be under way.

    Verdicts and states are sent by a thread that sends the newest value of each topic only.
    """

    window = _WINDOW

    def __init__(self, options: MqttOptions) -> None:
        broker, prefix, commands = options.broker, options.prefix, options.commands
        self._broker, self._prefix, self._home = broker, prefix, options.discovery_prefix
        self._session: MqttSession | None = None
        self._latest = LatestValues()
        self._states = CameraStates()
        self._levels: dict[str, str] = {}
        self._leaving = False
        self._allowed = commands
        who = f"mqtt {broker.host}/{prefix}"
        self._commands = MqttCommands(commands, prefix, who, self._show_answer)

    def started(self, cameras: Sequence[str], store: Store | None) -> None:
        for camera in cameras:
            self._level(camera)
            self._show_state(camera)
        if self._home:
            self._latest.put(*self._discovery(), retain=True)

    def controlled(self, ask: Ask) -> None:
        self._commands.begin(ask)
        session = self._session
        if session is not None and self._commands.topics:
            session.subscribe(self._commands.topics)

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        topic = f"{self._prefix}/{self._level(inspection.camera)}/verdict"
        self._latest.put(topic, partial(_verdict, inspection), retain=False)
        if self._states.judged(inspection.camera):
            self._show_state(inspection.camera)

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        if self._states.alarmed(event):
            self._show_state(event.camera)

    def setting_changed(self, change: SettingChange) -> None:
        if change.setting is Setting.PAUSED:
            self._states.pause(change.camera, on=bool(change.new))
            self._show_state(change.camera)

    def connect(self) -> None:
        if self._session is not None and not self._session.lost:
            return
        self._drop()
        if self.is_test:
            self._session = MqttSession(_tester(self._broker), self.window, self._received)
            return
        session = MqttSession(self._broker, self.window, self._received)
        try:
            session.wait(self._say("online", session))
            topics = {self._broker.will[0]: 1} | self._commands.topics
            session.subscribe(topics | ({f"{self._home}/status": 0} if self._home else {}))
            session.wait_for_subscription()
        except BaseException:
            session.close()
            raise
        self._session = session
        self._latest.begin(session)
        self.answer = f"connected to {self._broker.host}:{self._broker.port}"

    def deliver(self, record: Record) -> None:
        self.send(record)()
        self.answer = f"acknowledged by {self._broker.host}:{self._broker.port}"

    def send(self, record: Record) -> Callable[[], None]:
        session = self._session
        if session is None:  # a new one here would overtake what was lost with the old one
            raise ConnectionError("not connected")
        topic = f"{self._prefix}/events"
        info = session.publish(topic, json.dumps(record).encode(), qos=1, retain=False)
        return partial(self._wait, session, info)

    def close(self) -> None:
        """Say goodbye, if the broker is there, and disconnect."""
        for camera in self._levels:
            self._states.stop(camera)
            self._show_state(camera)
        self._commands.close()
        session = self._session
        self._leaving = True
        if session is not None and not session.lost and not self.is_test:
            with contextlib.suppress(OSError, Refused):
                self._latest.flush(_GOODBYE_S)
                session.wait(self._say("offline", session), _GOODBYE_S)
        self._drop()
        self._latest.close()

    def _wait(self, session: MqttSession, info: Any) -> None:
        try:
            session.wait(info)
        except OSError:
            self._drop()
            raise

    def _say(self, state: str, session: MqttSession) -> Any:
        return session.publish(self._broker.will[0], state.encode(), qos=1, retain=True)

    def _received(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001
        """Answer what others publish; called in the session's thread, which must not wait."""
        session = self._session
        if session is None or session.lost or self._leaving:
            return
        if topic == self._broker.will[0] and payload == b"offline":
            self._say("online", session)  # the will of a connection before this one came late
        elif topic == f"{self._home}/status" and payload == b"online":
            self._latest.repeat()
        else:
            cameras = {level: camera for camera, level in self._levels.items()}
            self._commands.received(topic, payload, cameras, retained=retained)

    def _show_answer(self, level: str, answer: Mapping[str, object]) -> None:
        payload = json.dumps({**answer, "time_utc": now_utc()}).encode()
        self._latest.put(f"{self._prefix}/{level}/answer", lambda: payload, retain=False)

    def _discovery(self) -> tuple[str, Callable[[], bytes]]:
        levels = dict(self._levels)
        return (
            discovery_topic(self._home, self._prefix),
            lambda: json.dumps(discovery(self._prefix, levels, self._allowed)).encode(),
        )

    def _show_state(self, camera: str) -> None:
        payload = json.dumps(self._states.record(camera) | {"time_utc": now_utc()}).encode()
        self._latest.put(
            f"{self._prefix}/{self._level(camera)}/state", lambda: payload, retain=True
        )

    def _level(self, camera: str) -> str:
        """Return the level of topics for a camera: its name, where that can be one."""
        if camera not in self._levels:
            level = _LEVEL.sub("_", camera) or "_"
            while level in self._levels.values():
                level += "_"
            self._levels[camera] = level
        return self._levels[camera]

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._latest.end()
            session.close()


def _tester(broker: Broker) -> Broker:
    """Return a broker for a test beside a line: under another id, without availability."""
    return replace(broker, client_id=f"{broker.client_id[:18]}-test", will=("", ""))


def _verdict(inspection: Inspection) -> bytes:
    return json.dumps(inspection_record(inspection)).encode()
