"""Frames in memory as cameras: a line of any number of streams, each at its own pace."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from edge_ad.closeable import ClosedAtExit
from edge_ad.engine import Batcher, Engine, Prediction
from edge_ad.frame import Frame, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.line.alarm import Alarm, AlarmRule
from edge_ad.line.camera import Camera
from edge_ad.line.inspector import Inspector, Thresholds
from edge_ad.line.supervisor import Supervisor
from edge_ad.line.tally import Tally
from edge_ad.outlet.base import Outlets
from edge_ad.source.buffered import BufferedSource

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Replay:
    """What the streams of a measured line share: frames, engine, thresholds and geometry."""

    frames: Sequence[Frame]
    engine: Engine
    thresholds: Thresholds
    geometry: Geometry

    def run(self, streams: int, rate_hz: float, duration_s: float) -> ReplayedLine:
        """Run a line of live cameras for a time.

        Their frames come at even distances from each other, as free-running cameras' do on average.
        At a rate of 0, every frame comes as soon as the one before it was taken, as from files.
        """
        engine = _CountedEngine(self.engine)
        batcher = Batcher(engine)
        engines = [engine if streams == 1 else batcher.client() for _ in range(streams)]
        cameras = [
            self._camera(client, _Pace(rate_hz, number / streams), f"stream {number + 1}")
            for number, client in enumerate(engines)
        ]
        line = Supervisor(cameras, Outlets([]))
        line.start()
        line.wait(duration_s)
        line.finish()
        line.raise_errors()
        return ReplayedLine([camera.tally for camera in cameras], line.dropped(), engine.busy_s)

    def _camera(self, engine: Engine, pace: _Pace, name: str) -> Camera:
        live = pace.rate_hz > 0
        source = BufferedSource(
            name,
            partial(_grabs, self.frames, pace, name),
            live=live,
            hold=True,
            timeout_s=_TIMEOUT_S,
            open_within_s=_TIMEOUT_S,
        )
        inspector = Inspector(
            engine, self.thresholds, FrameGate(live=live), geometry=self.geometry, camera=name
        )
        return Camera(source, lambda: source, inspector, Alarm(AlarmRule(), lambda: name), Tally())


@dataclass(frozen=True, slots=True)
class ReplayedLine:
    """The counts of each stream, the frames it dropped, and how long the engine worked."""

    tallies: Sequence[Tally]
    dropped: Mapping[str, int]
    engine_s: float

    def latency_s(self) -> list[float]:
        """Return the seconds from capture to verdict of every frame, ascending."""
        return sorted(seconds for tally in self.tallies for seconds in tally.latency_s)


class _CountedEngine(ClosedAtExit):
    """An engine that adds up the time of its calls; waiting for it does not count."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.busy_s = engine, 0.0
        self.name, self.manifest = engine.name, engine.manifest

    def infer(self, batch: Image) -> Prediction:
        began = time.perf_counter()
        try:
            return self._engine.infer(batch)
        finally:
            self.busy_s += time.perf_counter() - began

    def close(self) -> None:
        """Do nothing: the engine belongs to its owner."""


@dataclass(frozen=True, slots=True)
class _Pace:
    """Frames a second, and the first one's delay as a share of the time between two."""

    rate_hz: float
    delay: float


def _grabs(frames: Sequence[Frame], pace: _Pace, name: str) -> Iterator[Frame]:
    """Yield the frames again and again, each at its time and stamped with it."""
    began = time.monotonic()
    for index, frame in enumerate(itertools.cycle(frames)):
        if pace.rate_hz:
            due = began + (index + pace.delay) / pace.rate_hz
            time.sleep(max(0.0, due - time.monotonic()))
        yield replace(frame, index=index, captured_s=time.monotonic(), source=name)
