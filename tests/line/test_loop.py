"""The loop with an engine that works while its caller does."""

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
    """Remembers in which order it was asked; at most two batches may be under way."""

    def __init__(self) -> None:
        super().__init__()
        self.story: list[str] = []
        self._under_way: deque[Image] = deque()

    def submit(self, batch: Image) -> None:
        assert len(self._under_way) < 2
        self._under_way.append(batch.copy())
        self.story.append("submit")

    def collect(self) -> Prediction:
        self.story.append("collect")
        return super().infer(self._under_way.popleft())

    @property
    def pending(self) -> int:
        return len(self._under_way)


def frames(script: str) -> Iterator[Grab]:
    """`.` a good part, `R` one with a bright spot, `x` a grab without an image."""
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
    assert engine.story == ["submit", "submit", "collect", "submit", "collect", "collect"]


@pytest.mark.parametrize("script", ["", ".", "R", "..RR.x.R", "xx", "x.x.R"])
def test_overlap_changes_no_verdict_and_no_order(script: str) -> None:
    plain = list(inspect_all(frames(script), inspector(ScriptedEngine(), overlap=False)))
    found = list(inspect_all(frames(script), inspector(Overlapping())))
    assert [one.inspection.frame for one in found] == list(range(len(script)))
    for one, other in zip(plain, found, strict=True):
        if one.inspection.verdict is not Verdict.INVALID:
            assert one.inspection == other.inspection
        assert one.inspection.verdict is other.inspection.verdict


def test_what_was_begun_is_collected_when_nobody_wants_more() -> None:
    engine = Overlapping()
    turn = inspect_all(frames("....."), inspector(engine))
    next(turn)
    assert engine.pending == 1
    turn.close()
    assert engine.pending == 0


def test_an_engine_without_two_halves_is_asked_frame_by_frame() -> None:
    engine = ScriptedEngine()
    turn = inspect_all(frames("..."), inspector(engine))
    next(turn)
    assert engine.calls == 1, "the second frame is not looked at before the first is told"


def test_latency_begins_with_the_capture_of_a_live_frame() -> None:
    old = Frame(next(frames(".")).image, 0, time.monotonic() - 0.5, "cam")  # type: ignore[union-attr]
    live = Inspector(ScriptedEngine(), Thresholds(0.5, 0.5), FrameGate(live=True))
    assert live(old).latency_s > 0.5
    assert inspector(ScriptedEngine())(old).latency_s < 0.5
