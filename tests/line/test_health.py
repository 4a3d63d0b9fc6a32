"""The watchdog is fed only while the line works."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge_ad.frame import BadFrame
from edge_ad.line.health import Watchdog
from edge_ad.line.supervisor import Supervisor
from edge_ad.line.tally import Tally
from edge_ad.machine.systemd import SystemdNotifier
from tests.conftest import invoke


class Manager:
    """systemd's side of the socket."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        channel.settimeout(0)

    def messages(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._channel.recv(4096).decode())
            except BlockingIOError:
                return messages

    def fed(self) -> bool:
        return any("WATCHDOG=1" in message for message in self.messages())


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "8000000")
        yield Manager(channel)


class Line:
    """Two cameras and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.store_problem = 100.0, ""
        self.tallies = [Tally(), Tally()]
        self.faults = [False, False]
        self.paused: set[str] = set()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def watchdog(self) -> Watchdog:
        cameras = [
            SimpleNamespace(
                name=name,
                tally=tally,
                alarm=SimpleNamespace(has_fault=fault),
                pause=SimpleNamespace(on=name in self.paused),
            )
            for name, tally, fault in zip(("top", "side"), self.tallies, self.faults, strict=True)
        ]
        line = cast("Supervisor", SimpleNamespace(cameras=cameras))
        return Watchdog(line, SystemdNotifier(), lambda: self.store_problem, lambda: self.now)

    def grabs(self, camera: int) -> Iterator[BadFrame]:
        frames = iter([BadFrame("black", number, self.now, "x") for number in range(9)])
        return cast("Iterator[BadFrame]", self.tallies[camera].watched(frames))


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(monkeypatch)


def test_it_is_fed_at_a_quarter_of_its_time(manager: Manager, line: Line) -> None:
    watchdog = line.watchdog()
    watchdog.started()
    assert manager.messages() == ["READY=1\nWATCHDOG=1"]
    watchdog.step()
    assert not manager.fed()
    line.now += 2.1
    watchdog.step()
    assert manager.fed()


def test_a_frame_that_hangs_ends_the_feeding_until_it_is_done(
    manager: Manager, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    watchdog, grabs = line.watchdog(), line.grabs(1)
    next(grabs)
    watchdog.step()
    assert manager.fed()
    for _ in range(3):
        line.now += 4.1
        watchdog.step()
    assert not manager.fed()
    assert caplog.messages == [
        "side: a frame has been under way for more than 4 s. The watchdog will start the line "
        "again."
    ]
    next(grabs)
    watchdog.step()
    assert manager.fed()


def test_a_camera_that_is_waited_for_is_no_reason(manager: Manager, line: Line) -> None:
    watchdog, grabs = line.watchdog(), line.grabs(0)
    assert len(list(grabs)) == 9
    line.now += 1000
    watchdog.step()
    assert manager.fed()


def test_a_store_without_its_writer_ends_the_feeding(
    manager: Manager, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    watchdog = line.watchdog()
    line.store_problem = "line.db: the thread that writes it has ended"
    with caplog.at_level(logging.ERROR):
        watchdog.step()
    assert not manager.fed() and "has ended" in caplog.text


def test_the_status_is_sent_when_it_changes(manager: Manager, line: Line) -> None:
    line.faults, line.paused = [False, True], {"top"}
    watchdog = line.watchdog()
    watchdog.step()
    (status,) = [text for text in manager.messages() if text.startswith("STATUS")]
    assert status == "STATUS=0 frames, 0 rejected, 0 invalid; in fault: side; paused: top"
    line.now += 11
    watchdog.step()
    assert not any(text.startswith("STATUS") for text in manager.messages())


def test_a_run_asks_for_time_reports_ready_and_stopping(
    manager: Manager,
    make_engine: Callable[..., Path],
    make_folder: Callable[..., Path],
    tmp_path: Path,
) -> None:
    words = ("--camera", make_folder("parts", 3), "--engine", make_engine())
    done = invoke("run", *words, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    messages = manager.messages()
    assert messages.pop(0) == "EXTEND_TIMEOUT_USEC=900000000", "a damaged store takes minutes"
    assert messages[0] == "READY=1\nWATCHDOG=1" and messages[-1] == "STOPPING=1"


def test_outside_a_service_nothing_is_counted(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    watchdog: Any = line.watchdog()
    watchdog.started()
    watchdog.step()
    watchdog.stopping()
