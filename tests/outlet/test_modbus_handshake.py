"""Results that wait in the Modbus server until a master acknowledges them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.modbus_map import (
    ACKNOWLEDGE,
    BLOCK,
    BUFFER,
    LENGTH,
    CameraState,
    ErrorCode,
    Status,
    decode,
)
from tests.beside import Beside
from tests.outlet.test_modbus_server import block, master, part, serving


def acknowledge(client: Any, part: float, number: int = 0) -> None:
    words = [int(part) >> 16, int(part) & 0xFFFF]
    assert not client.write_registers(number * BLOCK + ACKNOWLEDGE, words).isError()


def test_two_masters_late_double_and_wrong_acknowledgements_lose_and_double_nothing() -> None:
    with serving("?handshake=1") as server, master(server) as plc, master(server) as other:
        for number in range(1, BUFFER + 1):
            server.inspected(part(number, Verdict.REJECT), Evidence())
        taken: list[float] = []
        while (values := block(plc))["waiting"]:
            acknowledge(other, values["result_id"] + 1)
            assert block(other)["result_id"] == values["result_id"], "a wrong id"
            taken.append(values["result_id"])
            for client in (plc, other, plc):
                acknowledge(client, values["result_id"])
        assert taken == list(range(1, BUFFER + 1))
        assert block(plc)["error"] == ErrorCode.NO_RESULT and block(plc)["overrun_count"] == 0


def test_a_master_that_never_acknowledges_is_told_how_many_it_missed() -> None:
    with serving("?handshake=1") as server, master(server) as plc:
        for number in range(1, BUFFER + 6):
            server.inspected(part(number), Evidence())
        values = block(plc)
        assert (values["result_id"], values["waiting"], values["overrun_count"]) == (1, BUFFER, 5)
        assert Status.OVERRUN in Status(int(values["status"]))
        acknowledge(plc, 1)
        assert block(plc)["result_id"] == 2


def test_an_acknowledgement_in_two_requests_counts_when_it_is_complete() -> None:
    with serving("?handshake=1&words=little") as server, master(server) as plc:
        server.inspected(part(0x10002), Evidence())
        server.inspected(part(0x10003), Evidence())
        plc.write_register(ACKNOWLEDGE, 2)
        plc.write_register(ACKNOWLEDGE + 1, 1)
        words = plc.read_holding_registers(0, count=LENGTH).registers
        assert decode(words, high_first=False)["result_id"] == 0x10003


class OneAtATime(CameraState):
    """Calls `seam` as it takes a verdict; none may be acknowledged meanwhile."""

    seam: Callable[[], object]
    takes = False

    def add(self, inspection: Inspection) -> None:
        self.takes = True
        self.seam()
        super().add(inspection)
        self.takes = False

    def acknowledge(self, part: int) -> bool:
        assert not self.takes
        return super().acknowledge(part)


def test_an_acknowledgement_waits_for_a_verdict_that_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.outlet.plc.CameraState", OneAtATime)
    with serving("?handshake=1") as server, master(server) as plc:
        second = Beside(lambda: acknowledge(plc, 1))
        monkeypatch.setattr(OneAtATime, "seam", lambda _: None, raising=False)
        server.inspected(part(1), Evidence())
        monkeypatch.setattr(OneAtATime, "seam", lambda _: second())
        server.inspected(part(2), Evidence())
        second.result()
        assert block(plc)["result_id"] == 2
