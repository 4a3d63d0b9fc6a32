"""Cameras that are absent, flap, change or fail in any way: an event, and the others go on."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.engine import Prediction, ScriptedEngine
from edge_ad.errors import EdgeAdError, SourceLost, UsageError
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.frame import Frame, Grab, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.inspection import Verdict
from edge_ad.line.alarm import Alarm, AlarmRule
from edge_ad.line.camera import Camera
from edge_ad.line.config import LineConfig
from edge_ad.line.inspector import Inspector, Thresholds
from edge_ad.line.open import open_line
from edge_ad.line.reopening import BackOff, Damping
from edge_ad.line.supervisor import Supervisor
from edge_ad.line.tally import Tally
from edge_ad.outlet.base import Outlets
from edge_ad.source import ScriptedSource
from edge_ad.source.late import LateSource
from tests.line.memory import Memory
from tests.timing import LIMIT_S

_seeds = itertools.count()


def frame(index: int = 0, side: int = 64) -> Frame:
    """Return a normal part; no two are alike."""
    image = np.random.default_rng(next(_seeds)).integers(20, 60, (side, side, 3))
    return Frame(image.astype(np.uint8), index, time.monotonic(), "cam")


class Live(ScriptedSource):
    """A live camera that delivers its grabs and then raises `error`, if there is one."""

    def __init__(
        self, grabs: Iterable[Grab], error: BaseException | None = None, name: str = "live"
    ) -> None:
        super().__init__(grabs, name=name)
        self.live = True
        self._error = error

    def __iter__(self) -> Iterator[Grab]:
        yield from super().__iter__()
        if self._error is not None:
            raise self._error


def lost() -> SourceLost:
    return SourceLost("live: no frame for 1 s.")


def camera(
    source: Any,
    reopen: Callable[[], Any] = lambda: pytest.fail("reopened"),
    engine: ScriptedEngine | None = None,
) -> Camera:
    gate = FrameGate(live=source.live, stale_after_s=None)
    inspector = Inspector(engine or ScriptedEngine(), Thresholds(0.5, 0.5), gate)
    at_once = BackOff(vary=lambda: -1.0)
    return Camera(
        source, reopen, inspector, Alarm(AlarmRule(), lambda: "id"), Tally(), back_off=at_once
    )


def run(*cameras: Camera, **settings: Any) -> tuple[Supervisor, dict[str, Any], Memory]:
    memory = Memory()
    line = Supervisor(list(cameras), Outlets([memory]), **settings)
    line.start()
    assert line.wait(LIMIT_S)
    return line, line.finish(), memory


def faults(memory: Memory, step: AlarmStep = AlarmStep.NEW) -> list[AlarmEvent]:
    return [
        event
        for event in memory.events
        if event.kind is AlarmKind.CAMERA_FAULT and event.event is step
    ]


def test_a_camera_is_opened_again_without_end() -> None:
    refusals = iter(range(500))

    def reopen() -> ScriptedSource:
        if next(refusals, None) is not None:
            raise lost()
        return Live([frame(index) for index in range(5)])

    line, result, memory = run(camera(Live([frame()], lost()), reopen))
    line.raise_errors()
    assert (result["judged"], result["invalid"], result["camera_faults"]) == (6, 1, 1)
    assert len(faults(memory)) == 1


def test_a_flapping_camera_has_one_standing_fault() -> None:
    lives = iter([lost()] * 300 + [None])

    def reopen() -> ScriptedSource:
        return Live([frame(index) for index in range(5)], next(lives))

    line, result, memory = run(camera(Live([frame()], lost()), reopen))
    line.raise_errors()
    assert (result["judged"], result["invalid"]) == (1 + 301 * 5, 301)
    assert [event.event for event in memory.events] == [AlarmStep.NEW, AlarmStep.END]


def test_the_fault_of_a_camera_that_was_away_for_long_stands_until_it_is_steady() -> None:
    now_s = 0.0

    def reopen() -> ScriptedSource:
        nonlocal now_s
        now_s += 3600
        return Live([frame(index) for index in range(5)])

    one, memory = camera(Live([frame()], lost()), reopen), Memory()
    one.alarm.damping = Damping(lambda: now_s)
    line = Supervisor([one], Outlets([memory]))
    line.start()
    assert line.wait(LIMIT_S)
    assert faults(memory) and not faults(memory, AlarmStep.END)
    line.finish()


def test_a_camera_that_comes_back_during_an_attempt_is_opened_at_once() -> None:
    there = False
    pauses = iter([-1.0])  # none, and then 50 s

    def reopen() -> ScriptedSource:
        nonlocal there
        if not there:
            there = True
            raise lost()
        return Live([frame(index) for index in range(5)])

    one = camera(Live([frame()], lost()), reopen)
    one.back_off, one.is_there = BackOff(vary=lambda: next(pauses, 100.0)), lambda: there
    line, result, _ = run(one)
    line.raise_errors()
    assert result["judged"] == 6


def test_a_camera_that_is_there_and_does_not_open_is_not_tried_all_the_time() -> None:
    tried = 0

    def reopen() -> ScriptedSource:
        nonlocal tried
        tried += 1
        raise lost()

    one = camera(Live([frame()], lost()), reopen)
    one.back_off, one.is_there = BackOff(vary=lambda: 100.0), lambda: True
    line = Supervisor([one], Outlets([]))
    line.start()
    assert not line.wait(0.3)
    line.finish()
    assert tried == 0


def test_a_limit_ends_the_reopening_with_the_reason() -> None:
    def reopen() -> ScriptedSource:
        raise SourceLost("gone for good")

    dead = camera(Live([frame()], lost()), reopen)
    line, result, memory = run(dead, reopen_for_s=0)
    assert (result["camera_faults"], result["dropped"]) == (1, 0)
    assert [event.reason for event in faults(memory, AlarmStep.UPDATE)] == ["ended: gone for good"]
    with pytest.raises(SourceLost, match="gone for good"):
        line.raise_errors()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZeroDivisionError("driver"), None),
        (MemoryError(), None),
        (UsageError("another size"), 2),
        (SystemExit(0), 1),
        (KeyboardInterrupt(), 1),
        (GeneratorExit(), 1),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("place", ["frames", "opening", "engine"])
def test_any_exception_of_a_camera_is_an_event_and_the_others_go_on(
    error: BaseException, code: int | None, place: str
) -> None:
    class Broken(ScriptedEngine):
        def infer(self, batch: Image) -> Prediction:
            raise error

    def reopen() -> ScriptedSource:
        raise error

    first = [frame()] if place != "engine" else [frame(), frame()]
    source = Live(first, lost() if place == "opening" else error)
    engine = Broken() if place == "engine" else ScriptedEngine()
    other = camera(ScriptedSource([frame(index) for index in range(30)], name="other"))
    line, result, memory = run(camera(source, reopen, engine), other)
    began = [event for event in memory.events if event.event is not AlarmStep.END]
    ended = [event for event in began if event.reason.startswith("ended: ")]
    assert len(ended) == 1 and ended[0].source == "live" and str(error) in ended[0].reason
    broken, healthy = result["cameras"]
    assert broken["camera_faults"] == 1 and healthy["judged"] == 30
    with pytest.raises((EdgeAdError, type(error))) as caught:
        line.raise_errors()
    assert isinstance(caught.value, Exception), "would end the process with another code"
    assert code is None or getattr(caught.value, "exit_code", None) == code


def test_a_frame_of_another_size_is_invalid_until_the_size_returns() -> None:
    sides = [64, 64, 48, 48, 48, 64, 64]
    line, result, memory = run(camera(Live([frame(i, side) for i, side in enumerate(sides)])))
    line.raise_errors()
    verdicts = [inspection.verdict for inspection in memory.inspections]
    assert verdicts == [Verdict.INVALID if side == 48 else Verdict.PASS for side in sides]
    (fault,) = faults(memory)
    assert fault.reason.startswith("geometry_changed: 48x48 pixels, expected 64x64")
    assert result["camera_faults"] == 1


def test_a_camera_that_returns_with_another_size_stays_invalid() -> None:
    back = Live([frame(index, 48) for index in range(3)])
    _, result, memory = run(camera(Live([frame()], lost()), lambda: back))
    assert (result["judged"], result["invalid"]) == (1, 4)
    assert "geometry_changed" in memory.inspections[-1].reason


def test_images_of_a_folder_may_differ_in_size() -> None:
    images = [replace(frame(i, side), file=f"{i}.png") for i, side in enumerate((64, 48, 80))]
    _, result, _ = run(camera(ScriptedSource(images)))
    assert result["judged"] == 3


def test_no_frame_is_judged_twice() -> None:
    last = frame(1)
    again = replace(last, index=0, captured_s=last.captured_s + 1)
    lives = iter([Live([again, frame(1)])])
    *_, memory = run(camera(Live([frame(), last, last], lost()), lambda: next(lives)))
    verdicts = [inspection.verdict.value for inspection in memory.inspections]
    assert verdicts == ["PASS", "PASS", "INVALID", "INVALID", "INVALID", "PASS"]
    reasons = [inspection.reason.partition(":")[0] for inspection in memory.inspections]
    assert reasons == ["", "", "repeated", "lost", "repeated", ""]


def test_an_absent_camera_does_not_stop_the_others(
    make_engine: Callable[..., Path], make_folder: Callable[..., Path]
) -> None:
    cameras, memory = ("97", str(make_folder("parts", 12))), Memory()
    config = LineConfig(cameras, make_engine(), reopen_for_s=0)
    with open_line(config, [memory]) as line:
        line.start()
        assert line.wait(LIMIT_S)
        result = line.finish()
    absent, present = result["cameras"]
    assert (absent["judged"], absent["camera_faults"], present["judged"]) == (0, 1, 12)
    assert any("no such camera" in event.reason for event in memory.events)
    with pytest.raises(SourceLost, match="no such camera"):
        line.raise_errors()
    required = replace(config, require_cameras=True)
    with pytest.raises(SourceLost, match="no such camera"), open_line(required):
        pass


def test_an_option_that_is_wrong_is_refused_at_the_start(make_engine: Callable[..., Path]) -> None:
    config = LineConfig(("pattern://?defects=7",), make_engine())
    with pytest.raises(UsageError, match="defects must be a share"), open_line(config):
        pass


def test_a_camera_that_opens_after_the_line_has_closed_it_is_released() -> None:
    opening, source = threading.Event(), ScriptedSource([])

    def opener() -> ScriptedSource:
        assert opening.wait(LIMIT_S)
        return source

    late = LateSource("late", opener)
    late.wait(0)
    late.close()
    assert list(late) == []
    opening.set()
    for thread in threading.enumerate():
        if thread.name == "open late":
            thread.join(LIMIT_S)
    assert source.closed
