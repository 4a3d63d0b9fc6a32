"""An outlet of some cameras receives what concerns them."""

from __future__ import annotations

import pytest

from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence, OfCameras, Outlet, Outlets
from tests.line.memory import Memory


def test_other_cameras_are_left_out() -> None:
    memory = Memory()
    outlet = OfCameras(memory, frozenset({"top"}))
    for camera in ("top", "side"):
        outlet.inspected(Inspection(Verdict.PASS, 0.1, 0.5, camera=camera), Evidence())
    assert [inspection.camera for inspection in memory.inspections] == ["top"]
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
