from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_ad.machine.systemd import SystemdNotifier
from tests.timing import LIMIT_S


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(LIMIT_S)
        yield channel


def test_states_go_out_as_one_datagram(listener: socket.socket) -> None:
    notifier = SystemdNotifier({"NOTIFY_SOCKET": listener.getsockname()})
    notifier.send(READY=1, STATUS="12 frames\nsecond line")
    assert listener.recv(4096) == b"READY=1\nSTATUS=12 frames second line"


def test_a_leading_at_sign_is_an_abstract_address() -> None:
    name = f"edge-ad-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0{name}")
        channel.settimeout(LIMIT_S)
        SystemdNotifier({"NOTIFY_SOCKET": f"@{name}"}).send(WATCHDOG=1)
        assert channel.recv(64) == b"WATCHDOG=1"


def test_without_systemd_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    assert not SystemdNotifier({}).is_service
    SystemdNotifier({}).send(READY=1)
    assert not caplog.records


def test_a_socket_that_cannot_be_reached_is_reported_on_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "notify"
    notifier = SystemdNotifier({"NOTIFY_SOCKET": str(path)})
    for _ in range(2):
        notifier.send(WATCHDOG=1)
        notifier.send(WATCHDOG=1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.bind(str(path))
            notifier.send(WATCHDOG=1)
        path.unlink()
    assert len(caplog.records) == 2
    assert f"systemd cannot be reached at NOTIFY_SOCKET={path} (" in caplog.text


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_read(environment: dict[str, str], expected: float | None) -> None:
    assert SystemdNotifier(environment).watchdog_s == expected
