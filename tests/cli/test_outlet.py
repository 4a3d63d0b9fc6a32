"""`edge-ad outlet test`: a marked alarm, what came back, and exit 6 when it did not arrive."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from tests.conftest import invoke
from tests.outlet.mosquitto import Mosquitto, subscriber
from tests.outlet.web import web_server
from tests.timing import wait_until


def test_a_web_server_receives_a_marked_alarm() -> None:
    with web_server() as server:
        done = invoke("outlet", "test", server.url)
    record = json.loads(server.bodies[0])
    assert record["test"] is True and record["type"] == "alarm"
    assert done.returncode == 0 and done.stdout.startswith(f"{server.url}: HTTP 200: thank you")


def test_a_file_receives_a_marked_alarm(tmp_path: Path) -> None:
    done = invoke("outlet", "test", f"file:{tmp_path / 'alarms.jsonl'}", "--json")
    record = json.loads((tmp_path / "alarms.jsonl").read_text())
    result = json.loads(done.stdout)
    assert record["test"] is True and result["answer"] == "taken"
    assert result["outlet"] == f"file:{tmp_path / 'alarms.jsonl'}"


def test_an_outlet_that_is_absent_says_what_to_check(tmp_path: Path) -> None:
    done = invoke("outlet", "test", f"file:{tmp_path / 'none' / 'alarms.jsonl'}")
    assert done.returncode == 6 and "No such file or directory" in done.stderr
    assert "Check that what it names is there" in done.stderr


def test_a_broker_shows_nothing_but_the_alarm(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, subscriber(broker.port) as hall:
        done = invoke("outlet", "test", f"mqtt://127.0.0.1:{broker.port}/hall/3", "--json")
        wait_until(lambda: hall.messages)
        assert json.loads(done.stdout)["answer"] == f"acknowledged by 127.0.0.1:{broker.port}"
    assert [topic for topic, _, _ in hall.messages] == ["hall/3/events"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mqtt://127.0.0.1:{port}/x", "Connection refused"),
        ("http://127.0.0.1:{port}/x", "Connection refused"),
        (f"exec:{sys.executable} -c 'raise SystemExit(4)'", "exit code 4"),
    ],
)
def test_an_alarm_that_does_not_arrive_is_exit_6(uri: str, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    done = invoke("outlet", "test", uri.format(port=port))
    assert done.returncode == 6 and f"the test alarm did not arrive: {message}" in done.stderr


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("paho", "edge_ad.outlet.mqtt"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "paho", None)
    done = invoke("outlet", "test", "mqtt://127.0.0.1/x")
    assert done.returncode == 3 and "pip install 'edge-ad[mqtt]'" in done.stderr
