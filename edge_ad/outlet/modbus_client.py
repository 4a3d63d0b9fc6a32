"""Write results to a PLC that is a Modbus server (`modbus-client://HOST:PORT/ADDRESS`)."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from edge_ad.errors import UsageError
from edge_ad.outlet.modbus_map import BLOCK, LENGTH
from edge_ad.outlet.plc import PlcOptions, PlcOutlet, parse_plc_options
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.uri import Uri, host_and_port, whole_number

if TYPE_CHECKING:
    from edge_ad.store.store import Store

_PORT = 502
_TIMEOUT_S = 1.0  # for an answer of the PLC
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # between attempts to reach it
_CLOSE_WITHIN_S = 4.0  # two answers, and room
_BEAT_S = 1.0
_STEADY_S = 10.0  # without trouble, until the fault has ended
_log = logging.getLogger(__name__)


def open_modbus_client(uri: Uri) -> ModbusWriter:
    """Prepare to write to a PLC, which may be absent. Raises UsageError."""
    return ModbusWriter(*parse_client(uri))


def parse_client(uri: Uri) -> tuple[str, int, int, int, PlcOptions]:
    """Return host, port, register and unit of a URI, and its options. Raises UsageError."""
    place, _, address = uri.place.partition("/")
    host, port = host_and_port(Uri(uri.scheme, place), "", _PORT)
    if not host or not re.fullmatch(r"\d{0,5}", address) or int(address or 0) > 0xFFFF - LENGTH:
        raise UsageError(
            f"{uri}: expected HOST:PORT/ADDRESS with the first holding register, from 0, such as "
            "modbus-client://10.0.0.9:502/100."
        )
    unit = whole_number(uri, "unit", 1)
    if unit > 255:
        raise UsageError(f"{uri}: option unit must be 0 to 255, got {unit}.")
    return host, port, int(address or 0), unit, parse_plc_options(uri)


class ModbusWriter(PlcOutlet):
    """Writes the block of each camera when it changes, becomes stale, or the heartbeat beats.

    A thread writes the newest state; states that a slow PLC or a lost link kept it from writing are
    passed over. A link that is lost is opened again without end; it is an `outlet_fault` event, and
    raised as OSError by the next call, so that it is counted.
    """

    def __init__(self, host: str, port: int, address: int, unit: int, options: PlcOptions) -> None:
        super().__init__(options)
        self._place = (host, port, address, unit)
        self._client = ModbusTcpClient(host, port=port, timeout=_TIMEOUT_S, retries=0)
        self._store: Store | None = None
        self._wake, self._tried = threading.Condition(), threading.Event()
        self._dirty, self._closing = True, False
        self._failures, self._failed_s = 0, float("-inf")
        self._stands = False  # the fault, which a flapping link has one of
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)

    @property
    def name(self) -> str:
        host, port, address, _ = self._place
        return f"modbus-client://{f'[{host}]' if ':' in host else host}:{port}/{address}"

    def started(self, cameras: Sequence[str], store: Store | None) -> None:
        super().started(cameras, store)
        self._store = store
        self._thread.start()

    def test(self) -> str:
        """Wait for the first write. Raises OSError when the PLC does not take it."""
        self._tried.wait(3 * _TIMEOUT_S)
        self._check()
        _, _, address, unit = self._place
        return f"the PLC took {LENGTH} registers from {address}, unit {unit}"

    def close(self) -> None:
        """Write that the line has stopped, if the PLC answers."""
        self._stop()
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_WITHIN_S)
        self._check()

    def _changed(self) -> None:
        with self._wake:
            self._dirty = True
            self._wake.notify_all()

    def _check(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        closing = False
        while not closing:
            closing = self._wait()
            try:
                self._write()
            except (ModbusException, OSError) as error:
                self._lost(error)
            else:
                self._written()
            self._tried.set()
        self._client.close()  # type: ignore[no-untyped-call]
        self._end_fault("the line stopped")

    def _wait(self) -> bool:
        """Wait for something to write, and return whether it is the last."""
        with self._wake:
            if self._failures:
                pause_s = _PAUSES_S[min(self._failures, len(_PAUSES_S)) - 1]
                self._wake.wait_for(lambda: self._closing, pause_s)
            else:
                self._wake.wait_for(lambda: self._dirty or self._closing, self._idle_s())
            self._dirty = False
            return self._closing

    def _idle_s(self) -> float:
        """Return how long nothing needs to be written without a change."""
        with self._lock:
            stale = [state.stale_in_s() for state in self._states.values()]
        return min([_BEAT_S, *(seconds + 0.001 for seconds in stale if seconds is not None)])

    def _write(self) -> None:
        if not self._client.connected and not self._client.connect():  # type: ignore[no-untyped-call]
            raise ConnectionError("the PLC cannot be reached")
        _, _, address, unit = self._place
        for number, words in enumerate(self.blocks()):
            at = address + number * BLOCK
            answer = self._client.write_registers(at, words, device_id=unit)
            if answer.isError():
                raise ConnectionError(
                    f"the PLC refuses to write {LENGTH} holding registers from {at} (exception "
                    f"{answer.exception_code})"
                )

    def _lost(self, error: Exception) -> None:
        self._client.close()  # type: ignore[no-untyped-call]
        self._failures += 1
        self._failed_s = time.monotonic()
        if not self._stands:
            self._stands, reason = True, str(error)
            _log.error("%s: %s. Trying again until it answers.", self.name, reason)
            self._error = OSError(f"the PLC did not hear every state: {reason}")
            self._report("new", reason)

    def _written(self) -> None:
        self._failures = 0
        if time.monotonic() - self._failed_s > _STEADY_S:
            self._end_fault("it is written again")

    def _end_fault(self, reason: str) -> None:
        if self._stands:
            self._stands = False
            _log.info("%s: %s", self.name, reason)
            self._report("end", reason)

    def _report(self, step: str, reason: str) -> None:
        if self._store is not None:
            event = StoreEvent(EventType.OUTLET_FAULT, step, source=self.name, reason=reason)
            self._store.record(event)
