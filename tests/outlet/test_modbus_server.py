"""The Modbus server, polled by pymodbus' own client."""

from __future__ import annotations

import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from edge_ad.errors import OutletLost, UsageError
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.modbus_map import ACKNOWLEDGE, BLOCK, LENGTH, ErrorCode, Status, decode
from edge_ad.outlet.registry import open_outlet
from tests.conftest import invoke
from tests.timing import LIMIT_S, wait_until

client_module = pytest.importorskip("pymodbus.client")
ModbusException = pytest.importorskip("pymodbus.exceptions").ModbusException
Server = Any


class Trigger:
    """Counts how often it was fired."""

    ready, busy = True, False

    def __init__(self) -> None:
        self.fired = 0

    def fire(self) -> bool:
        self.fired += 1
        return True


def part(number: int, verdict: Verdict = Verdict.PASS, camera: str = "top") -> Inspection:
    return Inspection(verdict, number * 0.5, 0.5, part=number, latency_s=0.012, camera=camera)


@contextmanager
def serving(
    options: str = "", triggers: dict[str, Trigger | None] | None = None
) -> Iterator[Server]:
    server: Server = open_outlet(f"modbus-tcp://127.0.0.1:{free_port()}{options}")
    try:
        server.opened(triggers or {"top": None, "side": None})
        server.started(["top", "side"], None)
        yield server
    finally:
        server.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def master(server: Server) -> Iterator[Any]:
    host, port = server.address
    client = client_module.ModbusTcpClient(host, port=port, timeout=LIMIT_S)
    assert client.connect()
    try:
        yield client
    finally:
        client.close()


def block(client: Any, number: int = 0) -> dict[str, float]:
    return decode(client.read_input_registers(number * BLOCK, count=LENGTH).registers)


def test_every_camera_has_a_block_in_both_kinds_of_registers_and_its_bits() -> None:
    with serving() as server, master(server) as plc:
        server.inspected(part(7, Verdict.REJECT), Evidence())
        server.inspected(part(8, camera="side"), Evidence())
        assert (block(plc)["result_id"], block(plc, 1)["result_id"]) == (7, 8)
        inputs = plc.read_input_registers(0, count=2 * BLOCK - 76).registers
        assert inputs[1:] == plc.read_holding_registers(0, count=2 * BLOCK - 76).registers[1:]
        bits = plc.read_discrete_inputs(0, count=32).bits
        status = [sum(bit << n for n, bit in enumerate(bits[at : at + 16])) for at in (0, 16)]
        assert Status(status[0]) == Status.ONLINE | Status.READY | Status.VALID | Status.FAIL
        assert Status(status[1]) == Status.ONLINE | Status.READY | Status.VALID | Status.PASS


@pytest.fixture
def threads_take_turns() -> Iterator[None]:
    """Let threads interrupt each other in the midst of a step, and none wait long for its turn."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before_s)


@pytest.mark.usefixtures("threads_take_turns")
def test_a_master_that_polls_fast_never_sees_a_torn_result_nor_misses_a_count() -> None:
    with serving() as server, master(server) as plc, master(server) as other:
        stop = threading.Event()

        def judge() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                server.inspected(part(number, list(Verdict)[number % 2]), Evidence())

        judging = threading.Thread(target=judge)
        judging.start()
        try:
            for client in (plc, other) * 100:
                values = block(client)
                number = values["result_id"]
                assert number == values["result_id_again"]
                if number:
                    assert values["score"] == number * 0.5
                    assert values["pass_count"] + values["fail_count"] == number
                    bit = (Status.PASS, Status.FAIL)[int(number) % 2]
                    assert bit in Status(int(values["status"]))
        finally:
            stop.set()
            judging.join()


def test_a_result_becomes_stale_without_anybody_writing() -> None:
    with serving("?stale_ms=50") as server, master(server) as plc:
        server.inspected(part(1), Evidence())
        wait_until(lambda: block(plc)["error"] == ErrorCode.STALE)
        status = Status(int(block(plc)["status"]))
        assert not status & (Status.PASS | Status.FAIL | Status.VALID)


def test_a_camera_s_fault_takes_the_verdict_away() -> None:
    fault = AlarmEvent(
        AlarmStep.NEW, "a", AlarmKind.CAMERA_FAULT, "uri", 1, 1, 1, 0.0, 0.5, camera="top"
    )
    with serving() as server, master(server) as plc:
        server.inspected(part(1), Evidence())
        server.alarmed(fault, Evidence())
        assert Status(int(block(plc)["status"])) == Status.ONLINE | Status.FAULT
        server.alarmed(replace(fault, event=AlarmStep.END), Evidence())
        assert Status.PASS in Status(int(block(plc)["status"]))


def test_a_line_that_stops_says_so_before_the_connection_ends() -> None:
    with serving() as server, master(server) as plc:
        server.inspected(part(1), Evidence())
        seen: list[tuple[Status, float]] = []

        def poll() -> None:
            # The kernel resets the connection if a poll was under way, and closes it otherwise.
            with pytest.raises((ModbusException, OSError, AttributeError)):
                while True:
                    values = block(plc)
                    seen.append((Status(int(values["status"])), values["error"]))

        polling = threading.Thread(target=poll)
        polling.start()
        wait_until(lambda: bool(seen))
        server.close()
        polling.join(LIMIT_S)
    assert not polling.is_alive()
    assert seen[-1] == (Status(0), ErrorCode.STOPPED)


def test_coils_fire_software_triggers_when_asked_for() -> None:
    triggers = {"top": Trigger(), "side": None}
    with serving("?trigger=1", triggers) as server, master(server) as plc:
        assert not plc.write_coil(0, value=True).isError()
        assert not plc.write_coil(0, value=False).isError()
        assert not plc.write_coils(0, [True, False]).isError()
        assert plc.write_coils(0, [True, True]).exception_code == 2
        assert triggers["top"] and triggers["top"].fired == 2
        assert plc.read_coils(0, count=16).bits == [False] * 16


@pytest.mark.parametrize("options", ["", "?handshake=1"])
def test_everything_else_is_read_only(options: str) -> None:
    with serving(options, {"top": Trigger()}) as server, master(server) as plc:
        server.inspected(part(1), Evidence())
        answers = [
            plc.write_register(3, 0xFFFF),
            plc.write_registers(0, [0] * 100),
            plc.write_registers(ACKNOWLEDGE - 1, [0, 0, 1]),
            plc.write_coil(0, value=True),
            plc.mask_write_register(address=3, and_mask=0, or_mask=0xFFFF),
            plc.readwrite_registers(read_address=0, read_count=1, write_address=3, values=[1]),
            plc.read_input_registers(2 * BLOCK - 1, count=2),
        ]
        assert [answer.isError() for answer in answers] == [True] * len(answers)
        assert {answer.exception_code for answer in answers[:3]} <= {1, 2}  # refused, not failed
        assert Status.PASS in Status(int(block(plc)["status"]))


def test_masters_that_vanish_or_talk_nonsense_leave_the_others_alone() -> None:
    with serving() as server:
        dead = [socket.create_connection(server.address) for _ in range(40)]
        for number, each in enumerate(dead):
            each.sendall([b"GET / HTTP/1.1\r\n\r\n", b"\0\1\0\0\xff\xff", b"\0" * 4000][number % 3])
        for each in dead[::2]:  # a reset, and the rest stay half open
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
        with master(server) as plc:
            server.inspected(part(3), Evidence())
            assert block(plc)["result_id"] == 3
        for each in dead[1::2]:
            each.close()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("modbus-tcp://:99999", "a port of 1 to 65535"),
        ("modbus-tcp://localhost:5020/7", "nothing after it"),
        ("modbus-tcp://?words=middle", "must be big or little, got 'middle'"),
        ("modbus-tcp://?handshake=yes", "must be 0 or 1, got 'yes'"),
        ("modbus-tcp://?handshakes=1", "Did you mean 'handshake'"),
        ("modbus-tcp://?stale_ms=0", "at least 1"),
    ],
)
def test_a_uri_that_is_wrong_is_refused(uri: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_outlet(uri)


def test_a_server_that_dies_is_counted_with_every_verdict(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("edge_ad.outlet.modbus_server.ModbusServer._serve", fail)
    with pytest.raises(OSError, match="did not start"):
        with serving():
            pass
    assert "ended by an unexpected error" in caplog.text
    server: Server = open_outlet(f"modbus-tcp://127.0.0.1:{free_port()}")
    with pytest.raises(OSError, match="did not start"):
        server.started(["top"], None)
    with pytest.raises(OSError, match="has ended"):
        server.inspected(part(1), Evidence())
    server.close()


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        uri = f"modbus-tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OutletLost, match="Address already in use"):
            open_outlet(uri)


def test_options_that_do_not_fit_the_line_are_refused() -> None:
    with pytest.raises(UsageError, match=r"for a camera 'left'\. The line has: top, side"):
        with serving("?camera=left"):
            pass
    with pytest.raises(UsageError, match="no camera waits for one"):
        with serving("?trigger=1"):
            pass


def test_a_test_reads_what_a_master_reads() -> None:
    done = invoke("outlet", "test", f"modbus-tcp://:{free_port()}?camera=top&trigger=1")
    assert done.returncode == 0 and "a master reads 26 registers, error no_result" in done.stdout


def test_a_server_is_named_by_its_address() -> None:
    port = free_port()
    with closing(open_outlet(f"modbus-tcp://127.0.0.1:{port}")) as server:
        assert server.name == f"modbus-tcp://127.0.0.1:{port}"


def test_a_server_on_ipv6_is_named_with_brackets() -> None:
    port = free_port()
    try:
        server = open_outlet(f"modbus-tcp://[::1]:{port}")
    except OutletLost:
        pytest.skip("this computer has no IPv6")
    with closing(server):
        assert server.name == f"modbus-tcp://[::1]:{port}"
