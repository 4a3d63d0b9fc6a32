"""Serve results to a PLC that polls (`modbus-tcp://HOST:PORT`); docs/modbus.md has the registers.

The words are made when they are read, in the thread of the server, so that every answer is one
state of the line: the newest, and stale to the millisecond.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from pymodbus.client import ModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusException
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from edge_ad.outlet.modbus_map import (
    ACKNOWLEDGE,
    BLOCK,
    FIELDS,
    LENGTH,
    ErrorCode,
    decode,
    from_words,
)
from edge_ad.outlet.plc import PlcOptions, PlcOutlet, parse_plc_options
from edge_ad.uri import Uri, host_and_port

if TYPE_CHECKING:
    from edge_ad.store.store import Store

_PORT = 5020  # 502 needs rights that a line should not have
_START_WITHIN_S = 30.0
_FAREWELL_S = 0.2  # for masters to read that the line has stopped
_MOST_CONNECTIONS = 32
_STATUS = next(field.address for field in FIELDS if field.name == "status")
_READS, _WRITES_COIL, _WRITES_WORDS = {1, 2, 3, 4}, {5, 15}, {6, 16}
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # a dead master in 25 s
_log = logging.getLogger(__name__)


def open_modbus_server(uri: Uri) -> ModbusServer:
    """Open the port of a URI. Raises OSError, UsageError."""
    return ModbusServer(*parse_server(uri))


def parse_server(uri: Uri) -> tuple[str, int, PlcOptions]:
    """Return host (loopback unless it is named), port and options. Raises UsageError."""
    host, port = host_and_port(uri, "127.0.0.1", _PORT)
    return host, port, parse_plc_options(uri)


class ModbusServer(PlcOutlet):
    """A Modbus TCP server in its own thread, for any number of masters and any unit id.

    With `handshake`, a master writes the id of a result to acknowledge it. With `take_triggers`,
    coil n fires the software trigger of camera n, from 0. Everything else is read-only.
    """

    def __init__(self, host: str, port: int, options: PlcOptions) -> None:
        super().__init__(options)
        self._socket = socket.create_server((host, port), family=_family(host))
        self.address = self._socket.getsockname()[:2]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._warned = False
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self._acknowledged: dict[int, list[int]] = {}  # camera -> the two words last written

    @property
    def name(self) -> str:
        host, port = self.address
        return f"modbus-tcp://{f'[{host}]' if ':' in host else host}:{port}"

    def started(self, cameras: Sequence[str], store: Store | None) -> None:
        super().started(cameras, store)
        self._acknowledged = {number: [0, 0] for number in range(len(self._cameras))}
        self._thread.start()
        if not self._serving.wait(_START_WITHIN_S) or not self._thread.is_alive():
            raise OSError("the Modbus server did not start")

    def test(self) -> str:
        """Read the first block as a master does. Raises OSError without an answer."""
        host, port = self.address
        client = ModbusTcpClient(_reachable(host), port=port, timeout=2.0, retries=0)
        try:
            answer = client.read_input_registers(0, count=LENGTH)
        except ModbusException as error:
            raise ConnectionError(str(error)) from error
        finally:
            client.close()  # type: ignore[no-untyped-call]
        error_name = ErrorCode(int(decode(answer.registers)["error"])).name.lower()
        return f"a master reads {len(answer.registers)} registers, error {error_name}"

    def _check(self) -> None:
        """Raise OSError for each verdict that no master can read any more."""
        if self._serving.is_set() and not self._thread.is_alive():
            raise OSError("the Modbus server has ended")

    def close(self) -> None:
        """Show masters that the line has stopped, then close all connections."""
        self._stop()
        if self._thread.is_alive() and self._loop is not None:
            self._loop.call_soon_threadsafe(self._end)
            self._thread.join(5.0)
        self._socket.close()

    def _end(self) -> None:
        if self._ended is not None:
            self._ended.set()

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:
            _log.exception("%s: ended by an unexpected error", self.name)
        finally:
            self._serving.set()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = _Server(self._device(), address=self.address)
        server.call_create = partial(
            self._loop.create_server, server.handle_new_connection, sock=self._socket
        )
        await server.serve_forever(background=True)
        self._serving.set()
        await self._ended.wait()
        if server.active_connections:
            await asyncio.sleep(_FAREWELL_S)
        await server.shutdown()  # type: ignore[no-untyped-call]

    def _device(self) -> SimDevice:
        count = len(self._cameras)
        words = [SimData(0, count=BLOCK * count, datatype=DataType.REGISTERS)]
        bits = [SimData(0, values=[False] * 16 * count, datatype=DataType.BITS)]
        return SimDevice(id=0, simdata=(bits, bits, words, words), action=self._access)

    async def _access(
        self,
        function: int,
        _start: int,
        address: int,
        _count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Fill the registers before they are read, and judge what a master writes."""
        if values is not None:
            return self._write(function, address, [int(value) for value in values])
        if function not in _READS:  # a write reads back what it has written, for its answer
            return None if function in _WRITES_COIL | _WRITES_WORDS else ExcCodes.ILLEGAL_FUNCTION
        blocks = self.blocks()
        if function == 2:
            registers[: len(blocks)] = [block[_STATUS] for block in blocks]
        elif function in (3, 4):
            for number, block in enumerate(blocks):
                at = number * BLOCK
                registers[at : at + len(block)] = block
                at += ACKNOWLEDGE
                registers[at : at + 2] = self._acknowledged[number]
        else:
            registers[:] = [0] * len(registers)  # a trigger is over when it is written
        return None

    def _write(self, function: int, address: int, values: list[int]) -> ExcCodes | None:
        refused: ExcCodes | None = ExcCodes.ILLEGAL_FUNCTION
        if function in _WRITES_COIL and self._options.take_triggers:
            refused = self._fire(address, values)
        elif function in _WRITES_WORDS and self._options.handshake:
            refused = self._acknowledge(address, values)
        if refused and not self._warned:
            self._warned = True
            _log.warning(
                "%s: a master wrote to address %d (function %d), which is refused; further ones "
                "are not reported",
                self.name, address, function,
            )  # fmt: skip
        return refused

    def _fire(self, address: int, values: list[int]) -> ExcCodes | None:
        """Fire the triggers of the coils that are written to 1, all or none."""
        every = dict(enumerate(self._cameras.values()))
        triggers = [every.get(coil) for coil, value in enumerate(values, address) if value]
        if any(trigger is None for trigger in triggers):
            return ExcCodes.ILLEGAL_ADDRESS
        for trigger in triggers:
            if trigger is not None:
                trigger.fire()
        return None

    def _acknowledge(self, address: int, values: list[int]) -> ExcCodes | None:
        number, offset = divmod(address, BLOCK)
        offset -= ACKNOWLEDGE
        if number >= len(self._cameras) or offset < 0 or offset + len(values) > 2:
            return ExcCodes.ILLEGAL_ADDRESS
        words = self._acknowledged[number]
        words[offset : offset + len(values)] = values
        part = int(from_words(words, "uint32", high_first=self._options.high_first))
        with self._lock:
            list(self._states.values())[number].acknowledge(part)
        return None


class _Server(ModbusTcpServer):
    """Closes connections of masters that are gone, and the oldest beyond 32."""

    def callback_new_connection(self) -> ServerRequestHandler:
        while len(self.active_connections) >= _MOST_CONNECTIONS:
            oldest = next(iter(self.active_connections.values()))
            oldest.close()
        return _Connection(  # type: ignore[no-untyped-call]
            self, self.trace_packet, self.trace_pdu, self.trace_connect
        )


class _Connection(ServerRequestHandler):
    """A connection that the kernel probes: a master without power never says goodbye."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connected = transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, seconds in _KEEPALIVE.items():
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
        super().connection_made(transport)


def _reachable(host: str) -> str:
    """Return where a server on this host can be reached from here."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
