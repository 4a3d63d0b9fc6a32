"""A paused camera: the verdict before it does not stand for parts that were not inspected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.camera_state import CameraStates
from edge_ad.outlet.modbus_map import FIELDS, ErrorCode, Status
from edge_ad.outlet.plc import PlcOptions, PlcOutlet
from edge_ad.setting import Setting, SettingChange, SettingStep

_AT = {field.name: field.address for field in FIELDS}
PASS = Inspection(Verdict.PASS, 0.1, 0.5, camera="top", part=7)
PAUSED = SettingChange("top", Setting.PAUSED, SettingStep.SET, old=False, new=True, who="anna")
RESUMED = replace(PAUSED, old=True, new=False)


def word(outlet: PlcOutlet, name: str) -> int:
    return outlet.blocks()[0][_AT[name]]


@pytest.mark.parametrize("handshake", [False, True])
def test_a_plc_reads_neither_pass_nor_ready(*, handshake: bool) -> None:
    pytest.importorskip("pymodbus")
    outlet = PlcOutlet(PlcOptions(handshake=handshake), clock=lambda: 0.0)
    outlet.started(["top"], None)
    outlet.inspected(PASS, Evidence())
    assert word(outlet, "status") & Status.PASS
    outlet.setting_changed(replace(PAUSED, setting=Setting.THRESHOLD))
    assert word(outlet, "status") & Status.PASS
    outlet.setting_changed(PAUSED)
    assert word(outlet, "error") == ErrorCode.PAUSED
    assert not word(outlet, "status") & (Status.PASS | Status.READY | Status.VALID)
    outlet.setting_changed(RESUMED)
    if not handshake:  # with it, results wait for the PLC
        assert word(outlet, "error") == ErrorCode.NO_RESULT
        outlet.inspected(PASS, Evidence())
    assert word(outlet, "status") & Status.PASS


def test_the_state_is_paused_and_then_waits_for_a_verdict() -> None:
    states = CameraStates()
    states.judged("top")
    assert states.record("top") == {"state": "ok"}
    states.pause("top", on=True)
    assert states.record("top") == {"state": "paused"}
    states.pause("top", on=False)
    assert states.record("top") == {"state": "waiting"}
    states.stop("top")
    assert states.record("top") == {"state": "stopped"}
