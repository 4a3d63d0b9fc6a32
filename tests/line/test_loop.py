"""The loop with an engine that computes while the next frame is prepared."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest

from edge_ad.engine import Prediction, ScriptedEngine
from edge_ad.frame import BadFrame, Frame, Grab, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.inspection import Verdict
from edge_ad.line.inspector import Inspector, Thresholds
from edge_ad.line.loop import inspect_all


class Overlapping(ScriptedEngine):
    """Records the order of its calls; at most two batches may be in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_made: list[str] = []
        self._in_flight: deque[Image] = deque()

    def submit(self, batch: Image) -> None:
        assert len(self._in_flight) < 2
        self._in_flight.append(batch.copy())
        self.calls_made.append("submit")

    def collect(self) -> Prediction:
        self.calls_made.append("collect")
        return super().infer(self._in_flight.popleft())

    @property
    def pending(self) -> int:
        return len(self._in_flight)


def frames(script: str) -> Iterator[Grab]:
    """Yield `.` a normal part, `R` one with a bright spot, `x` a grab without an image."""
    for index, letter in enumerate(script):
        if letter == "x":
            yield BadFrame("no image", index, time.monotonic(), "cam")
            continue
        image = np.random.default_rng(index).integers(20, 60, (64, 64, 3)).astype(np.uint8)
        if letter == "R":
            image[8:20, 20:32] = 250
        yield Frame(image, index, time.monotonic(), "cam")


def inspector(engine: ScriptedEngine, *, overlap: bool = True) -> Inspector:
    return Inspector(engine, Thresholds(0.5, 0.5), FrameGate(live=False), overlap=overlap)


def test_a_frame_is_uploaded_while_the_one_before_is_inferred() -> None:
    engine = Overlapping()
    assert len(list(inspect_all(frames("..."), inspector(engine)))) == 3
    assert engine.calls_made == ["submit", "submit", "collect", "submit", "collect", "collect"]


@pytest.mark.parametrize("script", ["", ".", "R", "..RR.x.R", "xx", "x.x.R"])
def test_overlap_changes_no_verdict_and_no_order(script: str) -> None:
    plain = list(inspect_all(frames(script), inspector(ScriptedEngine(), overlap=False)))
    overlapped = list(inspect_all(frames(script), inspector(Overlapping())))
    assert [result.inspection.frame for result in overlapped] == list(range(len(script)))
    for expected, result in zip(plain, overlapped, strict=True):
        if expected.inspection.verdict is not Verdict.INVALID:
            assert expected.inspection == result.inspection
        assert expected.inspection.verdict is result.inspection.verdict


def test_frames_in_flight_are_collected_when_the_loop_ends_early() -> None:
    engine = Overlapping()
    results = inspect_all(frames("....."), inspector(engine))
    next(results)
    assert engine.pending == 1
    results.close()
    assert engine.pending == 0


def test_an_engine_that_does_not_overlap_is_called_frame_by_frame() -> None:
    engine = ScriptedEngine()
    results = inspect_all(frames("..."), inspector(engine))
    next(results)
    assert engine.calls == 1, "the second frame waits until the first is reported"


def test_latency_begins_with_the_capture_of_a_live_frame() -> None:
    old = Frame(next(frames(".")).image, 0, time.monotonic() - 1000, "cam")  # type: ignore[union-attr]
    gate = FrameGate(live=True, stale_after_s=None)
    assert Inspector(ScriptedEngine(), Thresholds(0.5, 0.5), gate)(old).latency_s > 1000
    assert inspector(ScriptedEngine())(old).latency_s < 1000
