"""Outlets together: one that fails disturbs no other."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence, Outlet, Outlets
from edge_ad.store.store import Store
from tests.beside import Beside

PASS = Inspection(Verdict.PASS, 0.1, 0.5)


class Counting(Outlet):
    """Counts inspections, and raises `error` if there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.inspections = self.closings = 0

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        self.inspections += 1
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closings += 1


def test_a_failing_outlet_is_counted_logged_once_and_disturbs_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing, working = Counting(OSError("link down")), Counting()
    outlets = Outlets([failing, working])
    for _ in range(3):
        outlets.inspected(PASS, Evidence())
    assert working.inspections == 3
    assert outlets.faults == {"Counting: link down": 3}
    assert caplog.text.count("link down") == 1


def test_a_mistake_in_an_outlet_is_its_own(caplog: pytest.LogCaptureFixture) -> None:
    broken, working = Counting(KeyError("unit")), Counting()
    outlets = Outlets([broken, working])
    for _ in range(3):
        outlets.inspected(PASS, Evidence())
    assert working.inspections == 3
    assert outlets.faults == {"Counting: KeyError: 'unit'": 3}
    assert caplog.text.count("Traceback") == 1 and "raise self.error" in caplog.text


def test_a_mistake_before_the_first_frame_ends_the_run() -> None:
    class Unready(Outlet):
        def started(self, cameras: Sequence[str], store: Store | None) -> None:
            raise KeyError("unit")

    with pytest.raises(KeyError):
        Outlets([Unready()]).started(["top"], None)


def test_the_line_stops_when_the_readers_of_all_outlets_have_left() -> None:
    stop, left, working = threading.Event(), Counting(BrokenPipeError()), Counting()
    outlets = Outlets([left, working], stop)
    outlets.inspected(PASS, Evidence())
    assert not stop.is_set()
    working.error = BrokenPipeError()
    outlets.inspected(PASS, Evidence())
    assert stop.is_set() and sum(outlets.faults.values()) == 3


def test_outlets_are_closed_once() -> None:
    outlet = Counting()
    outlets = Outlets([outlet])
    outlets.close()
    outlets.close()
    assert outlet.closings == 1


def test_an_outlet_needs_no_method() -> None:
    outlets = Outlets([Outlet()])
    outlets.inspected(PASS, Evidence())
    outlets.close()
    assert outlets.faults == {}


def test_outlets_learn_the_cameras_before_the_first_frame() -> None:
    class Started(Outlet):
        cameras: tuple[str, ...] = ()

        def started(self, cameras: Sequence[str], store: Store | None) -> None:
            self.cameras = tuple(cameras)

    outlet = Started()
    Outlets([outlet]).started(["top", "side"], None)
    assert outlet.cameras == ("top", "side")


def test_outlets_are_called_by_one_camera_at_a_time() -> None:
    class Slow(Counting):
        def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
            calls.append("begin")
            second()
            calls.append("end")

    calls: list[str] = []
    outlets = Outlets([Slow()])
    second = Beside(lambda: outlets.inspected(PASS, Evidence()))
    outlets.inspected(PASS, Evidence())
    second.result()
    assert calls == ["begin", "end"] * 2
