"""MQTT with a real Mosquitto: events, states, wills, outages, credentials and certificates."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.delivery import Deliveries
from edge_ad.outlet.durable import DurableOutlet
from edge_ad.outlet.homeassistant import discovery
from edge_ad.outlet.registry import open_outlet
from edge_ad.setting import Setting, SettingChange, SettingStep
from edge_ad.store.store import Store
from tests.outlet.mosquitto import Mosquitto, Subscriber, subscriber
from tests.outlet.peer import events, rejects, state
from tests.outlet.web import certificate
from tests.timing import LIMIT_S, wait_until

# paho leaves the socket of a failed handshake to the collector
UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
PASS = Inspection(Verdict.PASS, 0.1, 0.5, camera="top", part=1)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def line(tmp_path: Path) -> Path:
    folder = tmp_path / "line"
    folder.mkdir()
    return folder


def mqtt(port: int, options: str = "events=reject", scheme: str = "mqtt") -> DurableOutlet:
    outlet = open_outlet(f"{scheme}://127.0.0.1:{port}/hall/3?{options}")
    assert isinstance(outlet, DurableOutlet)
    return outlet


def parts(records: list[Any]) -> list[int]:
    return [record["part"] for record in records]


def alarm(step: AlarmStep, kind: AlarmKind = AlarmKind.DEFECT, name: str = "a") -> AlarmEvent:
    return AlarmEvent(step, name, kind, "uri", 3, 3, 3, 0.9, 0.5, camera="top", reason="dark")


def _shows(one: Subscriber, state: str) -> bool:
    return [record["state"] for record in one.of("hall/3/top/state")[-1:]] == [state]


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_events_arrive_in_order_with_their_ids(broker: Mosquitto, line: Path, version: str) -> None:
    with subscriber(broker.port) as hall, Store(line) as store:
        outlet = mqtt(broker.port, f"events=reject&version={version}")
        Deliveries(store, [outlet], ())
        rejects(store, range(100))
        wait_until(lambda: len(hall.of("hall/3/events")) == 100)
    assert hall.of("hall/3/events") == events(line, "reject")
    assert outlet.name == f"mqtt://127.0.0.1:{broker.port}/hall/3"


def test_availability_is_retained_and_is_the_will(broker: Mosquitto, line: Path) -> None:
    with Store(line) as store:
        outlet = mqtt(broker.port)
        Deliveries(store, [outlet], ())
        wait_until(lambda: outlet.answer)
        with subscriber(broker.port) as hall:
            wait_until(lambda: ("hall/3/available", "online", True) in hall.messages)
    with subscriber(broker.port) as hall:
        wait_until(lambda: ("hall/3/available", "offline", True) in hall.messages)


_KILLED = """
import sys, os
from pathlib import Path
from edge_ad.outlet.registry import open_outlet
outlet = open_outlet(sys.argv[1])
outlet.connect()
os.kill(os.getpid(), 9)
"""


def test_a_killed_line_is_offline(broker: Mosquitto) -> None:
    uri = f"mqtt://127.0.0.1:{broker.port}/hall/3"
    subprocess.run([sys.executable, "-c", _KILLED, uri], check=False)
    with subscriber(broker.port) as hall:
        wait_until(lambda: "offline" in hall.of("hall/3/available"))


def test_a_will_that_comes_late_is_corrected(broker: Mosquitto) -> None:
    outlet = mqtt(broker.port)
    outlet.connect()
    with subscriber(broker.port) as hall:
        hall.publish("hall/3/available", "offline", retain=True)
        wait_until(lambda: hall.of("hall/3/available")[-2:] == ["offline", "online"])
    outlet.close()


def test_verdicts_and_states_are_those_of_the_camera(broker: Mosquitto) -> None:
    outlet = mqtt(broker.port)
    outlet.started(["top", "a/b+#"], None)
    outlet.connect()
    with subscriber(broker.port) as hall:
        wait_until(lambda: hall.of("hall/3/a_b__/state"))
        outlet.inspected(PASS, Evidence())
        wait_until(lambda: hall.of("hall/3/top/verdict"))
        wait_until(partial(_shows, hall, "ok"))
        fault = AlarmKind.CAMERA_FAULT
        for event, state_after in (
            (alarm(AlarmStep.NEW), "alarm"),
            (alarm(AlarmStep.NEW, fault, "b"), "fault"),
            (alarm(AlarmStep.END, fault, "b"), "alarm"),
            (alarm(AlarmStep.END), "ok"),
        ):
            outlet.alarmed(event, Evidence())
            wait_until(partial(_shows, hall, state_after))
        change = SettingChange(
            "top", Setting.PAUSED, SettingStep.SET, old=False, new=True, who="anna"
        )
        outlet.setting_changed(change)
        wait_until(partial(_shows, hall, "paused"))
        outlet.setting_changed(replace(change, setting=Setting.THRESHOLD, new=0.0))
        outlet.close()
        wait_until(lambda: hall.of("hall/3/available")[-1:] == ["offline"])
    (verdict,) = hall.of("hall/3/top/verdict")
    assert (verdict["verdict"], verdict["camera"], verdict["part"]) == ("PASS", "top", 1)
    shown = [record["state"] for record in hall.of("hall/3/top/state")]
    assert shown[0] == "waiting"
    assert shown[-7:] == ["ok", "alarm", "fault", "alarm", "ok", "paused", "stopped"]
    with subscriber(broker.port) as late:  # states are retained, verdicts are not
        wait_until(lambda: late.of("hall/3/top/state"))
        assert late.of("hall/3/top/state")[0]["state"] == "stopped"
        assert late.of("hall/3/top/verdict") == []


def test_a_broker_that_restarts_loses_nothing(tmp_path: Path, line: Path) -> None:
    broker = Mosquitto(tmp_path)
    with broker:
        hall = Subscriber(broker.port)
    outlet = mqtt(broker.port)
    with Store(line) as store:
        Deliveries(store, [outlet], ())
        rejects(store, range(10))
        wait_until(lambda: state(line, outlet.name)["error"])
        for last in (20, 30, 40):
            with broker:
                rejects(store, range(last - 10, last))
                wait_until(lambda: state(line, outlet.name)["waiting"] == 0)
    with broker:
        wait_until(lambda: 39 in parts(hall.of("hall/3/events")))
        hall.close()
    first_times = list(dict.fromkeys(parts(hall.of("hall/3/events"))))
    assert first_times == list(range(40))
    assert [event["step"] for event in events(line, "outlet_fault")] == ["new", "end"]


def test_a_session_begins_with_the_states(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    outlet = mqtt(broker.port)
    outlet.started(["top"], None)
    outlet.inspected(PASS, Evidence())
    with pytest.raises(OSError):
        outlet.connect()
    with broker:
        outlet.connect()
        with subscriber(broker.port) as hall:
            wait_until(lambda: hall.of("hall/3/top/state"))
        assert hall.of("hall/3/top/state")[0]["state"] == "ok"
        outlet.close()


def test_user_and_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = tmp_path / "passwords"
    made = subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "line", "p@ss/w#rd"],
        capture_output=True,
        check=False,
    ) if Path("/usr/bin/mosquitto_passwd").exists() else None  # fmt: skip
    if made is None:
        pytest.skip("mosquitto_passwd is not installed (apt install mosquitto)")
    monkeypatch.setenv("MQTT_PASSWORD", "p@ss/w#rd")
    config = ("allow_anonymous false", f"password_file {passwords}")
    with Mosquitto(tmp_path, *config) as broker:
        for version in ("3.1.1", "5"):
            uri = f"mqtt://line:${{ENV:MQTT_PASSWORD}}@127.0.0.1:{broker.port}/h?version={version}"
            outlet = open_outlet(uri)
            assert isinstance(outlet, DurableOutlet)
            assert outlet.name == f"mqtt://127.0.0.1:{broker.port}/h"
            outlet.connect()
            outlet.close()
            wrong = open_outlet(f"mqtt://line:wrong@127.0.0.1:{broker.port}/h?version={version}")
            assert isinstance(wrong, DurableOutlet)
            with pytest.raises(
                ConnectionError, match="the broker refuses the connection: Not authori"
            ):
                wrong.connect()
            wrong.close()


@UNCLOSED
def test_certificates_of_both_sides(tmp_path: Path) -> None:
    server, client = certificate(tmp_path), certificate(tmp_path, "line")
    config = (
        "allow_anonymous true", f"certfile {server}", f"keyfile {server}", f"cafile {client}",
        "require_certificate true",
    )  # fmt: skip
    with Mosquitto(tmp_path, *config) as broker:
        outlet = mqtt(broker.port, f"ca={server}&cert={client}", "mqtts")
        outlet.connect()
        outlet.close()
        for options in ("", f"ca={server}"):  # an unknown authority, and no certificate of ours
            outlet = mqtt(broker.port, options, "mqtts")
            with pytest.raises(OSError):
                outlet.connect()
            outlet.close()


@UNCLOSED
def test_an_expired_certificate_is_an_outage_with_the_reason(tmp_path: Path) -> None:
    expired = certificate(tmp_path, days=-1)
    config = ("allow_anonymous true", f"certfile {expired}", f"keyfile {expired}")
    with Mosquitto(tmp_path, *config) as broker:
        outlet = mqtt(broker.port, f"ca={expired}", "mqtts")
        with pytest.raises(OSError, match="certificate has expired"):
            outlet.connect()
        outlet.close()


def test_what_a_broker_refuses_is_a_dead_letter(tmp_path: Path, line: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite hall/3/available\n")
    with Mosquitto(tmp_path, "allow_anonymous true", f"acl_file {acl}") as broker:
        outlet = mqtt(broker.port, "events=reject&version=5")
        with Store(line) as store:
            Deliveries(store, [outlet], ())
            rejects(store, range(1))
            wait_until(lambda: state(line, outlet.name)["dead"] == 1)
    assert state(line, outlet.name)["error"] == "the broker does not take it: Not authorized"


def test_home_assistant_discovers_the_cameras(broker: Mosquitto) -> None:
    outlet = mqtt(broker.port, "discovery=homeassistant")
    outlet.started(["top"], None)
    outlet.connect()
    topic = "homeassistant/device/hall_3/config"
    with subscriber(broker.port) as home:
        wait_until(lambda: home.of(topic))
        (found,) = home.of(topic)
        home.publish("homeassistant/status", "online")
        wait_until(lambda: len(home.of(topic)) == 2)
        outlet.close()
    with subscriber(broker.port) as home:  # entities stay known while the line is off
        wait_until(lambda: (topic, json.dumps(found), True) in home.messages)
    assert found["availability_topic"] == "hall/3/available"
    alarm_entity = found["cmps"]["top_alarm"]
    assert alarm_entity["state_topic"] == "hall/3/top/state"
    assert {"p": "binary_sensor", "unique_id": "hall_3_top_alarm"}.items() <= alarm_entity.items()


def test_home_assistant_tells_cameras_with_similar_names_apart() -> None:
    components = discovery("hall/3", {"a.b": "a.b", "a_b": "a_b"})["cmps"]
    topics = {each["state_topic"] for each in components.values()}
    assert {"hall/3/a.b/state", "hall/3/a_b/state"} <= topics
    assert len({each["unique_id"] for each in components.values()}) == len(components) == 8


def test_a_test_alarm_leaves_a_running_line_alone(broker: Mosquitto) -> None:
    running, tester = mqtt(broker.port), mqtt(broker.port)
    tester.is_test = True
    with subscriber(broker.port) as hall:
        running.connect()
        tester.connect()
        tester.deliver({"id": "test"})
        tester.close()
        running.deliver({"id": "after"})  # on the connection that it had
        wait_until(lambda: len(hall.of("hall/3/events")) == 2)
        assert hall.of("hall/3/available") == ["online"]
        running.close()


@pytest.mark.timeout(60)
def test_a_broker_that_hangs_does_not_keep_a_line_from_its_end(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.outlet.mqtt_session._ANSWER_S", 10 * LIMIT_S)
    outlet = mqtt(broker.port)
    outlet.connect()
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    try:
        outlet.close()
    finally:
        broker.process.send_signal(signal.SIGCONT)


def test_a_line_that_starts_again_ends_what_is_left_of_its_session(broker: Mosquitto) -> None:
    before, again = mqtt(broker.port), mqtt(broker.port)
    other = mqtt(broker.port, "events=reject&client_id=another")
    for outlet in (before, other, again):
        outlet.connect()
    session: Any = vars(before)["_session"]
    wait_until(lambda: session.lost)
    kept: Any = vars(other)["_session"]
    assert not kept.lost
    for outlet in (before, other, again):
        outlet.close()
