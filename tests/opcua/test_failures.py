"""What clients read when the line or its server dies, stops or hangs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("asyncua")

from edge_ad.event import AlarmKind, AlarmStep
from edge_ad.inspection import Verdict
from edge_ad.opcua.settings import ServerSettings
from edge_ad.outlet.opcua_feed import Feed
from tests.conftest import invoke
from tests.opcua.served import Peer, Served, alarm, free_port, part

pytestmark = pytest.mark.slow
VERDICTS = ("top/VisionState", "top/Result.Pass", "top/Result.Fail", "top/Result.Score")
HALTED = [
    ("Halted", "Good"),
    (False, "UncertainNoCommunicationLastUsableValue"),
    (False, "UncertainNoCommunicationLastUsableValue"),
    (None, "BadNoCommunication"),
]


class BareServer:
    """A server whose line is the test: it sends what it likes, or nothing."""

    def __init__(self, stale_s: float) -> None:
        port = free_port()
        settings = ServerSettings("127.0.0.1", port, "urn:test", stale_s=stale_s)
        self.served = Served(port)
        self.feed = Feed("x")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge_ad.opcua"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        self._write(settings.to_json())
        self.served.wait_until_ready()

    def send(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self._write(json.dumps(message))

    def judged(self, number: int, verdict: Verdict = Verdict.PASS) -> None:
        self.feed.result(part(number, verdict))
        self.send(*self.feed.take(0.0))

    def _write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()


@pytest.fixture(scope="module")
def bare() -> Iterator[BareServer]:
    server = BareServer(stale_s=1.0)
    yield server
    server.process.kill()
    server.process.wait()
    assert server.process.stdin is not None
    server.process.stdin.close()


def test_a_line_that_goes_silent_or_dies_is_no_pass(bare: BareServer) -> None:
    async def check() -> None:
        async with bare.served.connected() as peer:
            await _passes(bare, peer, 1)
            bare.feed.paused("top", paused=True)
            bare.send(*bare.feed.take(0.0))
            await peer.wait_for("top/Reason", "the camera is paused")
            assert (await peer.read(*VERDICTS))[1] == (False, "UncertainLastUsableValue")
            bare.feed.paused("top", paused=False)
            bare.send(*bare.feed.take(0.0))
            await _passes(bare, peer, 1)
            beats = asyncio.create_task(_beat(bare))
            await peer.wait_for("top/VisionState", "Error")
            assert (await peer.read(*VERDICTS))[1:] == [
                (False, "UncertainLastUsableValue"),
                (False, "UncertainLastUsableValue"),
                (0.5, "UncertainLastUsableValue"),
            ]
            assert await peer.value("top/Reason") == "no verdict for more than 1 s"
            beats.cancel()
            await peer.wait_for("top/VisionState", "Halted")
            assert await peer.read(*VERDICTS) == HALTED
            before = await peer.value("Line.Heartbeat")
            await _passes(bare, peer, 2)  # it was stopped, and goes on
            await peer.wait_until("Line.Heartbeat", lambda beat: bool(beat > before))
            assert bare.process.stdin is not None
            bare.process.stdin.close()
            await peer.wait_for("top/VisionState", "Halted")
            assert await peer.read(*VERDICTS) == HALTED

    asyncio.run(check())
    assert bare.process.wait(60) == 0


async def _passes(bare: BareServer, peer: Peer, number: int) -> None:
    """Judge until a client reads the PASS: each holds for a second only."""
    bare.judged(number)
    while not await peer.value("top/Result.Pass"):
        await asyncio.sleep(0.05)
        bare.judged(number)


async def _beat(bare: BareServer) -> None:
    while True:
        bare.send({"beat": True})
        await asyncio.sleep(0.1)


def test_a_server_that_is_killed_comes_back_with_all_it_had() -> None:
    served = Served(free_port(), "127.0.0.1:{port}?stale_ms=600000")
    served.open(["top", "side"], None)
    served.inspected(part(1), part(2, Verdict.REJECT), part(3, camera="side"))
    served.alarmed(alarm(AlarmStep.NEW, "f-1", AlarmKind.CAMERA_FAULT, "side", "lost"))
    paths = ("top/Counters.Passed", "top/Result.Fail", "side/VisionState", "top/Result.ResultId")

    async def read(peer: Peer) -> list[Any]:
        await peer.wait_until("top/Result.Fail", bool)
        return [value for value, _ in await peer.read(*paths)]

    async def check() -> list[Any]:
        async with served.connected() as peer:
            return await read(peer)

    try:
        served.wait_until_ready()
        before = asyncio.run(check())
        assert before[:3] == [1, True, "Error"]
        (killed,) = _servers()
        os.kill(killed, signal.SIGKILL)
        _wait_until(lambda: _servers() not in ([], [killed]))
        served.wait_until_ready()
        assert asyncio.run(check()) == before
    finally:
        served.outlet.close()
    _wait_until(lambda: not _servers())


def test_a_test_alarm_says_where_the_server_is() -> None:
    port = free_port()
    done = invoke("outlet", "test", f"opcua://127.0.0.1:{port}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"opcua://127.0.0.1:{port}: serves opc.tcp://127.0.0.1:{port} (")


def _servers() -> list[int]:
    """Return the processes of this one's servers that are not dead."""
    servers = []
    for path in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for child in path.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"edge_ad.opcua" in command:
                servers.append(int(child))
    return servers


def _wait_until(condition: Any, timeout_s: float = 250) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
