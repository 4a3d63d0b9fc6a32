"""Commands by MQTT: those that are allowed and no others, answered, and never twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from edge_ad.errors import UsageError
from edge_ad.outlet.durable import DurableOutlet
from edge_ad.outlet.registry import open_outlet
from tests.outlet.mosquitto import Mosquitto, Subscriber, subscriber
from tests.timing import LIMIT_S, wait_until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def hall(broker: Mosquitto) -> Iterator[Subscriber]:
    with subscriber(broker.port) as one:
        yield one


class Line:
    """A line that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, object]] = []
        self.who = ""
        self.busy = threading.Event()
        self.busy.set()

    def __call__(self, request: Mapping[str, object], who: str) -> Mapping[str, object]:
        self.busy.wait(LIMIT_S)
        self.asked.append(request)
        self.who = who
        return {"type": "taken"}


def outlet(port: int, commands: str) -> tuple[DurableOutlet, Line]:
    mqtt = open_outlet(f"mqtt://127.0.0.1:{port}/hall/3?commands={commands}")
    assert isinstance(mqtt, DurableOutlet)
    mqtt.started(["top", "a/b"], None)
    line = Line()
    mqtt.controlled(line)
    mqtt.connect()
    return mqtt, line


@pytest.mark.parametrize(
    ("topic", "payload", "request_"),
    [
        ("top/command/trigger", "PRESS", {"command": "trigger", "camera": "top"}),
        ("a_b/command/trigger", "", {"command": "trigger", "camera": "a/b"}),
        (
            "top/command/threshold",
            "0.7",
            {"command": "set_threshold", "camera": "top", "threshold": 0.7},
        ),
        (
            "top/command/threshold",
            '{"threshold": 1, "reason": "lamp"}',
            {"command": "set_threshold", "camera": "top", "threshold": 1.0, "reason": "lamp"},
        ),
        (
            "top/command/threshold",
            "high",
            {"command": "set_threshold", "camera": "top", "threshold": "high"},
        ),
        (  # more than a float can be: the line refuses it
            "top/command/threshold",
            "9" * 400,
            {"command": "set_threshold", "camera": "top", "threshold": int("9" * 400)},
        ),
        (
            "top/command/threshold",
            '{"command": "pause", "camera": "*"}',
            {"command": "set_threshold", "camera": "top"},
        ),
    ],
)
def test_a_command_is_asked_of_the_line_and_answered(
    broker: Mosquitto, hall: Subscriber, topic: str, payload: str, request_: Mapping[str, object]
) -> None:
    mqtt, line = outlet(broker.port, "trigger,threshold")
    hall.publish(f"hall/3/{topic}", payload)
    wait_until(lambda: line.asked)
    assert line.asked == [request_] and line.who == "mqtt 127.0.0.1/hall/3"
    level = topic.split("/")[0]
    wait_until(lambda: hall.of(f"hall/3/{level}/answer"))
    assert hall.of(f"hall/3/{level}/answer")[0]["type"] == "taken"
    mqtt.close()


def test_what_is_not_allowed_is_not_taken(broker: Mosquitto, hall: Subscriber) -> None:
    mqtt, line = outlet(broker.port, "trigger")
    for topic in ("threshold", "pause", "trigger/x"):
        hall.publish(f"hall/3/top/command/{topic}", "0.1")
    hall.publish("hall/3/top/command/trigger", "")
    wait_until(lambda: line.asked)
    assert [request["command"] for request in line.asked] == ["trigger"]
    mqtt.close()


def test_a_retained_command_is_none(broker: Mosquitto, hall: Subscriber) -> None:
    hall.publish("hall/3/top/command/threshold", "0.1", retain=True)
    mqtt, line = outlet(broker.port, "threshold")
    wait_until(lambda: line.asked)
    assert "retained" in str(line.asked[0]["command"]) and "threshold" not in line.asked[0]
    mqtt.close()


def test_commands_are_taken_when_the_line_starts_after_the_connection(
    broker: Mosquitto, hall: Subscriber
) -> None:
    mqtt, line = open_outlet(f"mqtt://127.0.0.1:{broker.port}/hall/3?commands=trigger"), Line()
    assert isinstance(mqtt, DurableOutlet)
    mqtt.connect()
    hall.publish("hall/3/early/command/trigger", "")
    mqtt.controlled(line)

    def asked() -> bool:  # the subscription takes a moment
        hall.publish("hall/3/top/command/trigger", "")
        return bool(line.asked)

    wait_until(asked)
    mqtt.close()
    assert {request["camera"] for request in line.asked} == {"top"}, "not what came before"


def test_commands_are_taken_after_a_restart_of_the_broker(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    with broker:
        mqtt, line = outlet(broker.port, "trigger")
    wait_until(lambda: not _connects(mqtt))
    with broker, subscriber(broker.port) as hall:
        wait_until(lambda: _connects(mqtt))
        hall.publish("hall/3/top/command/trigger", "")
        wait_until(lambda: line.asked)
        mqtt.close()


def _connects(mqtt: DurableOutlet) -> bool:
    try:
        mqtt.connect()
    except OSError:
        return False
    return True


def test_a_flood_is_answered_and_not_queued(broker: Mosquitto, hall: Subscriber) -> None:
    mqtt, line = outlet(broker.port, "trigger")
    line.busy.clear()
    for _ in range(40):
        hall.publish("hall/3/top/command/trigger", "")
    wait_until(
        lambda: any("too many" in each.get("message", "") for each in hall.of("hall/3/top/answer"))
    )
    line.busy.set()
    mqtt.close()
    assert len(line.asked) <= 17


def test_an_unknown_command_is_refused_at_the_start() -> None:
    with pytest.raises(UsageError, match="commands are trigger and threshold, got 'pause'"):
        open_outlet("mqtt://127.0.0.1/?commands=trigger,pause")
