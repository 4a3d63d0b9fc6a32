"""An outlet of some cameras receives what concerns them."""

from __future__ import annotations

import pytest

from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence, OfCameras, Outlet, Outlets
from edge_ad.setting import Setting, SettingChange, SettingStep
from tests.line.memory import Memory


def test_other_cameras_are_left_out() -> None:
    memory = Memory()
    outlet = OfCameras(memory, frozenset({"top"}))
    for camera in ("top", "side"):
        rejected = Inspection(Verdict.REJECT, 0.9, 0.5, camera=camera)
        alarm = AlarmEvent(
            AlarmStep.NEW, "a", AlarmKind.DEFECT, "uri", 1, 1, 1, 0.9, 0.5, camera=camera
        )
        change = SettingChange(camera, Setting.THRESHOLD, SettingStep.SET, 0.5, 0.6, "anna")
        outlet.inspected(rejected, Evidence())
        outlet.rejected(rejected, Evidence())
        outlet.alarmed(alarm, Evidence())
        outlet.setting_changed(change)
    assert [inspection.camera for inspection in memory.inspections] == ["top"]
    assert [inspection.camera for inspection in memory.rejects] == ["top"]
    assert [event.camera for event in memory.events] == ["top"]
    assert [change.camera for change in memory.changes] == ["top"]
    assert outlet.name == memory.name


def test_it_hears_of_its_own_cameras_at_the_start() -> None:
    started: list[str] = []

    class Starting(Outlet):
        def started(self, cameras: object, store: object) -> None:
            assert isinstance(cameras, list)
            started.extend(cameras)

    OfCameras(Starting(), frozenset({"side"})).started(["top", "side"], None)
    assert started == ["side"]


@pytest.mark.parametrize(("wrapper", "but"), [(OfCameras, set()), (Outlets, {"test"})])
def test_a_wrapper_passes_on_every_method(wrapper: type[Outlet], but: set[str]) -> None:
    methods = {name for name, value in vars(Outlet).items() if callable(value)}
    assert {name for name in methods if name[0] != "_"} - but <= set(vars(wrapper))
