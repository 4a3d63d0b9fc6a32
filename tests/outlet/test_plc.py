"""What a PLC reads of a camera is one state of it, also of one that changes while it is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge_ad.errors import UsageError
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.modbus_map import decode
from edge_ad.outlet.plc import PlcOptions, PlcOutlet, parse_plc_options
from edge_ad.setting import Setting, SettingChange, SettingStep
from edge_ad.uri import Uri
from tests.beside import Beside


class Plc(PlcOutlet):
    """An outlet of a camera on a clock that calls `seam` when it is read; counts its changes."""

    def __init__(self) -> None:
        self.changes = 0
        self.seam: Callable[[], None] = lambda: None
        super().__init__(PlcOptions(), self._read_clock)
        self.started(["top"], None)

    def close(self) -> None:
        self._stop()

    def read(self) -> dict[str, float]:
        return decode(self.blocks()[0])

    def _changed(self) -> None:
        self.changes += 1

    def _read_clock(self) -> float:
        self.seam()
        return 0.0


def judge(plc: Plc, part: int) -> None:
    plc.inspected(Inspection(Verdict.PASS, 0.1, 0.5, part=part, camera="top"), Evidence())


def fail(plc: Plc) -> None:
    kind = AlarmKind.CAMERA_FAULT
    event = AlarmEvent(AlarmStep.NEW, "f", kind, "", 1, 1, 1, 0.0, 0.5, camera="top")
    plc.alarmed(event, Evidence())


def pause(plc: Plc) -> None:
    change = SettingChange("top", Setting.PAUSED, SettingStep.SET, old=False, new=True, who="anna")
    plc.setting_changed(change)


@pytest.mark.parametrize("happens", [lambda plc: judge(plc, 2), fail, pause, Plc.close])
def test_a_change_while_a_block_is_read_comes_after_it(happens: Callable[[Plc], None]) -> None:
    plc = Plc()
    judge(plc, 1)
    before = plc.read()
    second = Beside(lambda: happens(plc))
    reads = iter([lambda: None])  # for the heartbeat; then for the age of the result
    plc.seam = lambda: next(reads, second)()
    assert plc.read() == before
    second.result()
    assert plc.read() != before


def test_each_change_is_passed_on() -> None:
    plc = Plc()
    judge(plc, 1)
    fail(plc)
    pause(plc)
    plc.close()
    assert plc.changes == 4


def test_options_of_a_uri() -> None:
    assert parse_plc_options(Uri("modbus-tcp", "")) == PlcOptions()
    chosen = {"camera": "top", "stale_ms": "500", "words": "little"}
    chosen |= {"handshake": "1", "trigger": "1"}
    assert parse_plc_options(Uri("modbus-tcp", "", chosen)) == PlcOptions(
        "top", 0.5, high_first=False, handshake=True, take_triggers=True
    )
    with pytest.raises(UsageError, match="words must be big or little"):
        parse_plc_options(Uri("modbus-tcp", "", {"words": "middle"}))
