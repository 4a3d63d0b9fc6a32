"""Cameras in separate processes: the same frames, and drivers that hang or crash are ended."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad import open_source
from edge_ad.errors import (
    IncompatibleError,
    InvalidConfig,
    MissingExtra,
    SourceLost,
    SourceTimeout,
    UsageError,
)
from edge_ad.frame import BadFrame, Frame, from_grey, pixels_of
from edge_ad.images import BitDepth
from edge_ad.source import driver_messages as messages
from edge_ad.source import driver_process, isolated
from edge_ad.source.base import Source, SourceRequest
from edge_ad.source.open import parse_uri
from tests.timing import LIMIT_S, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes end with the line there")

PATTERN = "pattern://?fps=50&width=64&height=48&seed=2&faults=bad@1"


def drivers(parent: int | None = None) -> list[int]:
    """Return the processes of drivers that a process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            started_by = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        if b"edge_ad.source.driver_process" in command and started_by == (parent or os.getpid()):
            found.append(int(folder.name))
    return found


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + LIMIT_S
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def camera() -> Iterator[Source]:
    with open_source(PATTERN, open_within_s=LIMIT_S, isolated=True) as source:
        yield source


def test_frames_are_those_of_the_camera(camera: Source) -> None:
    grabs = iter(camera)
    first = next(grab for grab in grabs if isinstance(grab, Frame))
    with open_source(PATTERN.replace("fps=50", "fps=0")) as plain:
        expected = next(grab for grab in plain if grab.index == first.index)
    assert isinstance(expected, Frame)
    assert np.array_equal(first.image, expected.image)
    assert first.source == camera.name == PATTERN and camera.live
    assert 0 <= time.monotonic() - first.captured_s < LIMIT_S
    (pid,) = drivers()
    camera.close()
    assert drivers() == []
    wait_until_gone(pid)


def test_a_driver_ends_without_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with open_source(PATTERN, open_within_s=LIMIT_S, isolated=True) as source:
        next(iter(source))
        (pid,) = drivers()
    wait_until_gone(pid)
    assert capfd.readouterr().err == ""


def test_a_camera_may_send_nothing_for_a_while() -> None:
    uri = "pattern://?fps=3&width=64&height=48"
    with open_source(uri, open_within_s=LIMIT_S, timeout_s=LIMIT_S, isolated=True) as source:
        assert len(list(itertools.islice(source, 3))) == 3


@pytest.mark.parametrize(
    ("options", "reason"), [("frames=6", ""), ("faults=lost@6", "lost at frame 6, as requested")]
)
def test_the_reason_of_the_end_arrives(options: str, reason: str) -> None:
    uri = f"pattern://?fps=200&width=64&height=48&{options}"
    with open_source(uri, open_within_s=LIMIT_S, isolated=True) as source:
        with pytest.raises(SourceLost, match=reason) if reason else nullcontext():
            for grab in source:
                assert grab.index < 6


@pytest.mark.parametrize("times", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_driver_that_hangs_is_killed_as_often_as_it_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, times: int
) -> None:
    """Four times is once more than threads may be left behind."""
    monkeypatch.setattr(isolated, "_RELEASE_S", 0.05)
    threads = threading.active_count()
    for _ in range(times):
        with open_source(PATTERN, open_within_s=LIMIT_S, isolated=True) as source:
            grabs = iter(source)
            next(grabs)
            (pid,) = drivers()
            os.kill(pid, signal.SIGSTOP)
            source._timeout_s = 0.1  # type: ignore[attr-defined]
            with pytest.raises(SourceTimeout):
                list(grabs)
        wait_until_gone(pid)
    assert "its process is killed" in caplog.text
    wait_until(lambda: threading.active_count() <= threads)


def test_a_driver_that_crashes_is_a_lost_camera(camera: Source) -> None:
    grabs = iter(camera)
    next(grabs)
    os.kill(drivers()[0], signal.SIGSEGV)
    with pytest.raises(SourceLost, match=r"its driver died \(signal 11\)"):
        list(grabs)


def test_what_opening_raises_comes_over() -> None:
    with pytest.raises(UsageError, match="option fps must be"):
        open_source("pattern://?fps=many", isolated=True)
    with pytest.raises(SourceLost, match="no such camera"):
        open_source("v4l2:///dev/video987", open_within_s=LIMIT_S, isolated=True)
    assert drivers() == []


def test_a_driver_that_does_not_open_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        isolated, "_COMMAND", (sys.executable, "-c", "import time; time.sleep(1000)")
    )
    monkeypatch.setattr(isolated, "_RELEASE_S", 0.0)
    monkeypatch.setattr(isolated, "_KILLED_S", LIMIT_S)
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*given: Any, **more: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*given, **more))
        return started[-1]

    monkeypatch.setattr("edge_ad.source.isolated.subprocess.Popen", start)
    request = SourceRequest(parse_uri(PATTERN), "top", open_within_s=0.0)
    with pytest.raises(SourceTimeout, match="top did not open within 0 s"):
        isolated.open_isolated(request)
    assert [process.poll() for process in started] == [-signal.SIGKILL]


def test_a_process_that_cannot_start_is_a_lost_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    request = SourceRequest(parse_uri(PATTERN), "top")
    monkeypatch.setattr(isolated, "_COMMAND", ("/no/python",))
    with pytest.raises(SourceLost, match="cannot be started"):
        isolated.open_isolated(request)
    monkeypatch.setattr(isolated, "_COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(SourceLost, match=r"died \(exit code 3\)"):
        isolated.open_isolated(request)


def test_a_driver_goes_with_the_line(tmp_path: Path) -> None:
    script = tmp_path / "line.py"
    script.write_text(
        "from edge_ad import open_source\n"
        f"source = open_source({PATTERN!r}, open_within_s={LIMIT_S}, isolated=True)\n"
        "print('open', flush=True)\n"
        "for grab in source: pass\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as line:
        assert line.stdout and line.stdout.readline() == b"open\n"
        (pid,) = drivers(line.pid)
        line.kill()
    wait_until_gone(pid)


def test_a_driver_ends_whose_line_had_gone_before_it_began() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = SourceRequest(parse_uri(PATTERN), "top")
    command = [*isolated._COMMAND, str(theirs.fileno())]
    with ours, theirs, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as process:
        messages.send(ours, messages.request_message(request) | {"parent": 0})
        assert process.wait(LIMIT_S) == 0 and not messages.is_readable(ours)


def test_a_driver_that_waits_for_a_frame_is_told_that_the_line_has_gone() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    closed = threading.Event()
    with theirs:
        watch = threading.Thread(target=driver_process._close, args=(theirs, closed), daemon=True)
        watch.start()
        messages.send(ours, {"free": 0})
        assert not closed.wait(0.05), "a packet is no end"
        ours.close()
        assert closed.wait(LIMIT_S)


def test_requests_and_errors_arrive_whole() -> None:
    uri = parse_uri("rtsp://line:p%40ss@10.0.0.5/stream?theirs=1")
    request = SourceRequest(uri, "top", 3.0, 4.0, BitDepth(12, "its name", given=False))
    arrived = messages.request_of(messages.request_message(request))
    assert (arrived.uri, arrived.name, arrived.bit_depth) == (uri, "top", request.bit_depth)
    assert (arrived.timeout_s, arrived.open_within_s) == (3.0, 4.0)
    for error, kind, text in (
        (SourceTimeout("late"), SourceTimeout, "late"),
        (MissingExtra("pylon://", "pypylon", "pylon"), IncompatibleError, "pylon:// needs the"),
        (InvalidConfig(["no such line"]), UsageError, "no such line"),
        (ZeroDivisionError("by zero"), SourceLost, "top: reading failed: ZeroDivisionError: by"),
    ):
        raised = messages.error_of(messages.error_message(error), "top")
        assert type(raised) is kind and str(raised).startswith(text)


def driver_at(channel: socket.socket, program: str) -> isolated._Driver:
    """Return the line's side of a driver whose process runs a program of Python."""
    driver = isolated._Driver.__new__(isolated._Driver)
    driver._request = SourceRequest(parse_uri(PATTERN), "top")
    driver._name, driver._channel = "top", channel
    driver._process = subprocess.Popen([sys.executable, "-c", program])
    return driver


def test_the_last_frame_of_a_driver_that_crashes_arrives_and_how_it_ended() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        frame = Frame(np.full((4, 6, 3), 7, np.uint8), 0, 0.0, "top")
        messages.send(theirs, driver_process._message_of(frame, driver_process._Images(theirs)))
    grabs = driver_at(ours, "raise SystemExit(3)").grabs()
    last = next(grabs)
    assert isinstance(last, Frame) and np.array_equal(last.image, frame.image)
    with pytest.raises(SourceLost, match=r"its driver died \(exit code 3\)"):
        next(grabs)


def test_frames_of_any_size_lie_in_memory_that_both_see() -> None:
    """Larger ones get new memory when none of the old is in use; slots come back and are reused."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    rng = np.random.default_rng(0)
    sizes = [(4, 6, 3)] * 5 + [(2, 3, 3), (40, 50, 3), (4, 6, 3), (41, 50, 3)]
    sent = [rng.integers(0, 256, size, np.uint8) for size in sizes]
    sent.append(from_grey(rng.integers(0, 256, (8, 9), np.uint8)))

    def drive() -> None:
        images = driver_process._Images(theirs)
        for index, image in enumerate(sent):
            frame = Frame(image, index, float(index), "ignored", "a.png", 0.5)
            messages.send(theirs, driver_process._message_of(frame, images))
        bad = BadFrame("torn", len(sent), 0.0, "ignored")
        messages.send(theirs, driver_process._message_of(bad, images))
        messages.send(theirs, {"end": True})

    driver = driver_at(ours, "")
    thread = threading.Thread(target=drive)
    thread.start()
    grabs = list(driver.grabs())
    thread.join(LIMIT_S)
    theirs.close()
    frames = [grab for grab in grabs if isinstance(grab, Frame)]
    assert all(map(np.array_equal, [frame.image for frame in frames], sent))
    assert pixels_of(frames[-1].image).shape == (8, 9), "a grey frame comes as one plane"
    assert [frame.index for frame in frames] == list(range(len(sent)))
    assert {(frame.source, frame.file, frame.triggered_s) for frame in frames} == {
        ("top", "a.png", 0.5)
    }
    assert grabs[-1] == BadFrame("torn", len(sent), 0.0, "top")
