"""The Modbus writer, with pymodbus' own server as the PLC."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edge_ad.errors import UsageError
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.modbus_map import BLOCK, ErrorCode, Status, decode
from edge_ad.outlet.registry import open_outlet
from edge_ad.store.event import StoreEvent
from tests.conftest import invoke
from tests.timing import LIMIT_S, wait_until

server_module = pytest.importorskip("pymodbus.server")
simulator = pytest.importorskip("pymodbus.simulator")
Writer = Any


def part(number: int, verdict: Verdict = Verdict.PASS, camera: str = "top") -> Inspection:
    return Inspection(verdict, 0.25, 0.5, part=number, latency_s=0.012, camera=camera)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.outlet.modbus_client._TIMEOUT_S", 20.0)


class Plc:
    """A PLC with 400 holding registers that can be switched off and on."""

    def __init__(self, first: int = 0) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = int(listening.getsockname()[1])
        self.registers = [0] * 400
        self.writes = 0
        self._first = first

    async def _note(
        self, function: int, start: int, address: int, count: int, _: Any, values: Any
    ) -> None:
        if values is not None:
            self.writes += 1
            at = address - start
            self.registers[at : at + len(values)] = values

    async def _serve(self, began: threading.Event, end: asyncio.Event) -> None:
        words = [simulator.SimData(self._first, count=400, datatype=simulator.DataType.REGISTERS)]
        bits = [simulator.SimData(0, values=[False] * 16, datatype=simulator.DataType.BITS)]
        device = simulator.SimDevice(id=0, simdata=(bits, bits, words, words), action=self._note)
        server = server_module.ModbusTcpServer(device, address=("127.0.0.1", self.port))
        await server.serve_forever(background=True)
        began.set()
        await end.wait()
        await server.shutdown()

    @contextmanager
    def on(self) -> Iterator[None]:
        loop, began, end = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
        serving = threading.Thread(target=lambda: loop.run_until_complete(self._serve(began, end)))
        serving.start()
        assert began.wait(LIMIT_S)
        try:
            yield
        finally:
            loop.call_soon_threadsafe(end.set)
            serving.join(LIMIT_S)
            loop.close()

    def block(self, number: int = 0) -> dict[str, float]:
        return decode(self.registers[number * BLOCK :])

    def status(self) -> Status:
        return Status(int(self.block()["status"]))


class Store:
    """Keeps events in memory."""

    def __init__(self) -> None:
        self.events: list[StoreEvent] = []

    def record(self, event: StoreEvent) -> bool:
        self.events.append(event)
        return True


@contextmanager
def writing(plc: Plc, options: str = "", store: Store | None = None) -> Iterator[Writer]:
    writer: Writer = open_outlet(f"modbus-client://127.0.0.1:{plc.port}/{options}")
    writer.opened({"top": None, "side": None})
    writer.started(["top", "side"], store)
    try:
        yield writer
    finally:
        writer.close()


def wait_for_part(plc: Plc, number: int) -> None:
    wait_until(lambda: plc.block()["result_id"] == number)


def test_every_camera_s_block_is_written_when_it_changes_and_when_it_stops() -> None:
    plc = Plc(first=100)
    with plc.on():
        with writing(plc, "100") as writer:
            writer.inspected(part(7, Verdict.REJECT), Evidence())
            writer.inspected(part(8, camera="side"), Evidence())
            wait_until(lambda: plc.block(1)["result_id"] == 8)
            assert plc.block()["result_id"] == plc.block()["result_id_again"] == 7
            assert Status.FAIL in plc.status() and Status.ONLINE in plc.status()
        assert plc.status() == Status(0) and plc.block()["error"] == ErrorCode.STOPPED


def test_a_result_becomes_stale_and_the_heart_beats_without_new_ones() -> None:
    plc = Plc()
    with plc.on(), writing(plc, "?stale_ms=30") as writer:
        writer.inspected(part(1), Evidence())
        wait_until(lambda: plc.block()["error"] == ErrorCode.STALE)
        assert not plc.status() & (Status.PASS | Status.FAIL)
        wait_until(lambda: plc.block()["heartbeat"] >= 1)


def test_a_slow_plc_gets_the_newest_state_and_the_counts_of_all() -> None:
    plc = Plc()
    with plc.on(), writing(plc) as writer:
        for number in range(1, 1001):
            writer.inspected(part(number), Evidence())
        wait_until(lambda: plc.block()["result_id"] == 1000)
        assert plc.block()["pass_count"] == 1000 and plc.writes < 2000


def test_a_plc_that_is_absent_and_comes_back_delays_nobody_and_is_reported_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.outlet.modbus_client._STEADY_S", 0.0)
    monkeypatch.setattr("edge_ad.outlet.modbus_client._PAUSES_S", (0.02,))
    caplog.set_level(logging.ERROR, "edge_ad")
    plc, store = Plc(), Store()
    with writing(plc, store=store) as writer:
        wait_until(lambda: bool(store.events))
        with pytest.raises(OSError, match="did not hear every state: the PLC cannot be reached"):
            writer.inspected(part(1), Evidence())
        for number in range(2, 200):
            writer.inspected(part(number), Evidence())
        for number in (200, 201):
            with plc.on():
                wait_for_part(plc, number - 1)
                writer.inspected(part(number), Evidence())
                wait_for_part(plc, number)
                wait_until(lambda: store.events[-1].step == "end")
            wait_until(lambda: store.events[-1].step == "new")
            with pytest.raises(OSError, match="did not hear every state"):
                while True:
                    writer.inspected(part(number), Evidence())
                    time.sleep(0.01)
    assert [event.step for event in store.events] == ["new", "end"] * 3
    assert {event.source for event in store.events} == {writer.name}
    assert caplog.text.count("Trying again until it answers") == 3


def test_an_absent_plc_is_not_tried_at_each_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.outlet.modbus_client._PAUSES_S", (1_000.0,))
    plc, store, tries = Plc(), Store(), list[int]()
    writer: Writer = open_outlet(f"modbus-client://127.0.0.1:{plc.port}")
    connect = writer._client.connect

    def counted() -> bool:
        tries.append(1)
        return bool(connect())

    monkeypatch.setattr(writer._client, "connect", counted)
    writer.opened({"top": None})
    writer.started(["top"], store)
    wait_until(lambda: store.events)
    for number in range(1, 500):
        with contextlib.suppress(OSError):  # once, that the PLC did not hear every state
            writer.inspected(part(number), Evidence())
        time.sleep(0)  # the writer may run
    with contextlib.suppress(OSError):
        writer.close()
    assert len(tries) == 2, "at the start, and once more at the end"


def test_after_a_write_the_first_pause_is_short_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.outlet.modbus_client._PAUSES_S", (0.0, 1_000.0))
    plc, fails = Plc(), iter([True, False, True, False])
    writer: Writer = open_outlet(f"modbus-client://127.0.0.1:{plc.port}")
    write = writer._client.write_registers

    def write_registers(*arguments: Any, **options: Any) -> Any:
        if next(fails, False):
            raise ConnectionResetError
        return write(*arguments, **options)

    monkeypatch.setattr(writer._client, "write_registers", write_registers)
    writer.opened({"top": None})
    with plc.on():
        writer.started(["top"], None)
        wait_until(lambda: plc.writes == 1)
        with contextlib.suppress(OSError):  # that the PLC did not hear every state
            writer.inspected(part(1), Evidence())
        wait_until(lambda: plc.block()["result_id"] == 1)
        with contextlib.suppress(OSError):
            writer.close()


@pytest.mark.timeout(60)
def test_a_plc_that_never_answers_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.outlet.modbus_client._TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        plc = Plc()
        plc.port = int(silent.getsockname()[1])
        writer: Writer = open_outlet(f"modbus-client://127.0.0.1:{plc.port}")
        writer.opened({"top": None})
        writer.started(["top"], None)
        writer.inspected(part(1), Evidence())
        with pytest.raises(OSError, match="did not hear every state"):
            writer.close()


def test_a_plc_without_these_registers_says_so() -> None:
    plc, store = Plc(first=1000), Store()
    with plc.on():
        writer: Writer = open_outlet(f"modbus-client://127.0.0.1:{plc.port}/5")
        writer.opened({"top": None})
        writer.started(["top"], store)
        wait_until(lambda: bool(store.events))
        with pytest.raises(OSError, match=r"26 holding registers from 5 \(exception 2\)"):
            writer.close()


@pytest.mark.parametrize(
    "uri",
    [
        "modbus-client://",
        "modbus-client://10.0.0.9:502/first",
        "modbus-client://10.0.0.9:502/65530",
        "modbus-client://10.0.0.9?unit=300",
        "modbus-client://10.0.0.9?handshake=1",
    ],
)
def test_a_uri_that_is_wrong_is_refused(uri: str) -> None:
    with pytest.raises(UsageError):
        open_outlet(uri)


def test_a_test_writes_the_registers_or_says_why_not() -> None:
    plc = Plc()
    with plc.on():
        done = invoke("outlet", "test", f"modbus-client://127.0.0.1:{plc.port}/100?unit=7")
        assert done.returncode == 0, done.stderr
        assert "the PLC took 26 registers from 100, unit 7" in done.stdout
    done = invoke("outlet", "test", f"modbus-client://127.0.0.1:{plc.port}")
    assert done.returncode == 6 and "the PLC cannot be reached" in done.stderr
