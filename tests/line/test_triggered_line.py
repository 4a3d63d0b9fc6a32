"""Triggers on a line: a part for each, misses reported, cameras with their own trigger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_ad.engine import Prediction, ScriptedEngine
from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import BadFrame, Grab, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.inspection import Verdict
from edge_ad.line.alarm import Alarm, AlarmRule, PartRule
from edge_ad.line.camera import Camera
from edge_ad.line.config import LineConfig
from edge_ad.line.inspector import Inspector, Thresholds
from edge_ad.line.open import open_line
from edge_ad.line.supervisor import Supervisor
from edge_ad.line.tally import Tally
from edge_ad.line.trigger import Trigger, TriggeredSource, TriggerLimits
from edge_ad.line.trigger_input import check_trigger
from edge_ad.outlet.base import Outlets
from edge_ad.source.base import ScriptedSource
from tests.line.memory import Memory
from tests.line.test_trigger import Clock, frame
from tests.timing import LIMIT_S

MakePath = Callable[..., Path]


class Later:
    """The clock, `by_s` later."""

    by_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.by_s


class Paced(ScriptedSource):
    """A live camera that delivers a frame each time the test asks for one."""

    def __init__(self) -> None:
        super().__init__(self._frames())
        self.live = True
        self._next, self._index = threading.Semaphore(0), 0

    def deliver(self) -> None:
        self._next.release()

    def close(self) -> None:
        self.closed = True
        self._next.release()

    def _frames(self) -> Iterator[Grab]:
        while self._next.acquire() and not self.closed:
            self._index += 1
            yield frame(time.monotonic(), self._index)


class Slow(ScriptedEngine):
    """Takes until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def infer(self, batch: Image) -> Prediction:
        self.begun.set()
        assert self.go_on.wait(LIMIT_S)
        return super().infer(batch)


class Parts(Memory):
    """Signals every inspection."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Semaphore(0)

    def inspected(self, *arguments: object) -> None:
        super().inspected(*arguments)  # type: ignore[arg-type]
        self.came.release()


@pytest.fixture
def source() -> Paced:
    return Paced()


def supervisor(source: Paced, engine: ScriptedEngine, trigger: Trigger | None) -> Supervisor:
    alarm = Alarm(AlarmRule(), lambda: "a", part_rule=PartRule.FRAME)
    inspector = Inspector(engine, Thresholds(0.5, 0.5), FrameGate(live=True), camera="top")
    triggered = TriggeredSource(source, trigger) if trigger else source
    camera = Camera(triggered, lambda: triggered, inspector, alarm, Tally(), "top", trigger=trigger)
    return Supervisor([camera], Outlets([Parts()]))


def parts_of(line: Supervisor) -> Parts:
    (memory,) = line.outlets._outlets
    assert isinstance(memory, Parts)
    return memory


def test_a_line_judges_a_part_for_each_trigger_and_reports_those_it_missed(source: Paced) -> None:
    clock = Later()
    engine, trigger = Slow(), Trigger(TriggerLimits(verdict_within_s=60.0), clock)
    line = supervisor(source, engine, trigger)
    parts, serves = parts_of(line), threading.Event()
    assert not trigger.fire(), "the camera delivers nothing yet"
    line.start()
    source.deliver()
    while not trigger.fire():
        serves.wait(0.01)
    source.deliver()
    assert engine.begun.wait(LIMIT_S)
    clock.by_s = 60.0
    assert not trigger.fire()
    for _ in range(trigger.counts.fired):
        assert parts.came.acquire(timeout=LIMIT_S)
    assert {part.verdict for part in parts.inspections} == {Verdict.INVALID}
    reasons = [part.reason for part in parts.inspections]
    assert reasons.count("missed_trigger: no verdict within 60 s") == 1, "the engine still hangs"
    clock.by_s = 0.0
    engine.go_on.set()
    while not trigger.fire():
        serves.wait(0.01)
    source.deliver()
    while parts.inspections[-1].verdict is Verdict.INVALID:
        assert parts.came.acquire(timeout=LIMIT_S)
    summary = line.finish()
    counts = summary["triggers"]
    assert counts["fired"] == counts["served"] + counts["missed"] and counts["served"] == 1
    assert (summary["frames"], summary["judged"]) == (counts["fired"], 1)
    assert (
        summary["invalid"] == counts["missed"] == sum(p.missed_triggers for p in parts.inspections)
    )
    assert summary["camera_faults"] == 0 and not parts.events
    assert len({part.part for part in parts.inspections}) == len(parts.inspections)
    served = parts.inspections[-1]
    assert served.camera == "top" and 0 < served.latency_s < 20


def test_a_frame_that_failed_is_the_trigger_s_part(source: Paced) -> None:
    trigger = Trigger(clock=Clock())
    with trigger.watched():
        trigger.fire()
        bad = trigger.take(BadFrame("torn", 1, 101.0, "cam"))
        assert isinstance(bad, BadFrame) and bad.triggered_s == 100.0


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("never", UsageError, "no trigger 'never'. Expected free, software, or gpio:"),
        ("gpoi:1", UsageError, "Did you mean gpio:"),
    ],
)
def test_what_is_no_trigger_is_refused(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_trigger(text)


def test_files_cannot_be_triggered(make_engine: MakePath, make_folder: MakePath) -> None:
    config = LineConfig((str(make_folder("a", 1)),), make_engine(), trigger="software")
    with pytest.raises(UsageError, match=r"captured before any trigger\. Leave --trigger out"):
        with open_line(config):
            pass


def test_a_camera_with_a_trigger_of_its_own_delivers_parts_and_takes_no_other(
    make_engine: MakePath,
) -> None:
    config = LineConfig(("pylon://?trigger=Line1", "pylon://"), make_engine())
    assert [camera.part for camera in config.resolve()] == [PartRule.FRAME, PartRule.STREAM]
    by_name = LineConfig(("0",), make_engine(), part="frame")  # type: ignore[arg-type]
    assert by_name.resolve()[0].part is PartRule.FRAME
    with pytest.raises(UsageError, match="a part is stream or frame, got 'image'"):
        LineConfig(("0",), make_engine(), part="image").resolve()  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is triggered twice"):
        with open_line(LineConfig(("pylon://?trigger=Line1",), make_engine(), trigger="software")):
            pass


def test_parts_that_a_triggered_camera_drops_are_invalid(source: Paced) -> None:
    line = supervisor(source, ScriptedEngine(), None)
    (camera,) = line.cameras
    camera.own_trigger = True
    parts = parts_of(line)
    line.start()
    for dropped, records in ((0, 1), (3, 2), (3, 1)):
        source.dropped = dropped
        source.deliver()
        for _ in range(records):
            assert parts.came.acquire(timeout=LIMIT_S)
    summary = line.finish()
    assert [part.verdict for part in parts.inspections] == [
        Verdict.PASS, Verdict.PASS, Verdict.INVALID, Verdict.PASS,
    ]  # fmt: skip
    missed = parts.inspections[2]
    assert missed.missed_triggers == 3 and "3 parts came faster" in missed.reason
    assert (summary["judged"], summary["invalid"], summary["dropped"]) == (3, 1, 3)


def test_a_camera_that_dies_misses_its_triggers_and_serves_them_again_later(
    make_engine: MakePath,
) -> None:
    config = LineConfig(
        ("top=pattern://?fps=200&width=64&height=48&faults=lost@3",),
        make_engine(),
        trigger="software",
    )
    memory = Parts()
    with open_line(config, [memory]) as line:
        line.start()
        trigger = line.triggers["top"]
        while not any("the camera is in fault" in p.reason for p in memory.inspections):
            trigger.fire()
            memory.came.acquire(timeout=0.05)
        before = trigger.counts.served
        while trigger.counts.served == before:
            trigger.fire()
            memory.came.acquire(timeout=0.05)
        summary = line.finish()
    assert summary["triggers"]["fired"] == sum(summary["triggers"][k] for k in ("served", "missed"))


def test_a_missing_chip_is_refused_by_name(make_engine: MakePath) -> None:
    pytest.importorskip("gpiod")
    config = LineConfig(("pattern://",), make_engine(), trigger="gpio:gpiochip99/3")
    with pytest.raises(SourceLost, match=r"gpio:gpiochip99/3 cannot be opened .No such file"):
        with open_line(config):
            pass
