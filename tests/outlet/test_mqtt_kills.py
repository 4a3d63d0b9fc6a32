"""10 000 alarms without a broker, and kills of the line in the middle of their delivery."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.outlet.mosquitto import Mosquitto, Subscriber
from tests.outlet.peer import events, state
from tests.timing import wait_until

_LINE = """
import sys, time
from pathlib import Path
from tests.outlet.peer import rejects
from edge_ad.outlet.delivery import Deliveries
from edge_ad.outlet.registry import open_outlet
from edge_ad.store.store import Store
store = Store(Path(sys.argv[1]))
Deliveries(store, [open_outlet(sys.argv[2])], ())
for part in range(int(sys.argv[3])):
    rejects(store, range(part, part + 1))
    time.sleep(float(sys.argv[4]))
store.flush(60)
Path(sys.argv[1], "recorded").touch()
time.sleep(1000)
"""


def start_line(folder: Path, port: int, count: int, pause_s: float) -> subprocess.Popen[bytes]:
    uri = f"mqtt://127.0.0.1:{port}/hall/3?events=reject"
    command = [sys.executable, "-c", _LINE, str(folder), uri, str(count), str(pause_s)]
    return subprocess.Popen(command)


@pytest.mark.slow
def test_10_000_alarms_without_a_broker_and_kills_with_messages_in_flight_lose_nothing(
    tmp_path: Path,
) -> None:
    line = tmp_path / "line"
    line.mkdir()
    broker = Mosquitto(tmp_path, "allow_anonymous true", "max_queued_messages 0")
    with broker:
        hall = Subscriber(broker.port)
    away = start_line(line, broker.port, 10_000, 0)
    wait_until((line / "recorded").exists)
    for count in (500, 2_000, 4_000):  # killed in the middle of what it delivers
        with broker:
            wait_until(lambda: len(hall.of("hall/3/events")) > count)  # noqa: B023
            away.kill()
            away.wait()
        away = start_line(line, broker.port, 200, 0.001)
    with broker:
        wait_until(lambda: state(line, f"mqtt://127.0.0.1:{broker.port}/hall/3")["waiting"] == 0)
        away.kill()
        away.wait()
        kept = [event["id"] for event in events(line, "reject")]
        wait_until(lambda: hall.of("hall/3/events")[-1]["id"] == kept[-1])
        hall.close()
    arrived = [event["id"] for event in hall.of("hall/3/events")]
    assert list(dict.fromkeys(arrived)) == kept and len(kept) > 10_000
