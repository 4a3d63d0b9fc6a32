"""Measure the whole loop beside the engine alone.

Machines are noisy, so the two are measured alternately and compared round by round.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from edge_ad.bench.engine_calls import time_engine, timed_call
from edge_ad.bench.windows import AGREEING, agree
from edge_ad.engine import Engine
from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import BadFrame, Frame, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.line.config import LineConfig
from edge_ad.line.open import open_line
from edge_ad.preprocess import Preprocess
from edge_ad.source import open_source
from edge_ad.source.open import is_live, waits
from edge_ad.uri import without_credentials

IN_MEMORY = 256 << 20  # bytes of frames that are measured again and again
_LEAST = 300  # frames, however large
_HOPELESS = 10_000  # frames, none of which can be judged, of a source without end


@dataclass(frozen=True, slots=True)
class Round:
    """One round: frames per second of the engine alone and of the loop, on the same frames."""

    engine_fps: float
    loop_fps: float

    @property
    def ratio(self) -> float:
        return self.loop_fps / self.engine_fps


@dataclass(frozen=True, slots=True)
class LoopBench:
    """The rounds of one measurement, and the seconds of each frame's verdict and engine call.

    `frames` were judged a round; `invalid` were not, by their reason, and count in no figure.
    """

    rounds: tuple[Round, ...]
    frames: int
    invalid: Mapping[str, int]
    latency_s: tuple[float, ...]
    engine_s: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Return the median over the rounds of loop over engine throughput."""
        return median(round_.ratio for round_ in self.rounds)

    @property
    def stable(self) -> bool:
        """Whether the last three rounds agree; fewer cannot say."""
        last = self.rounds[-AGREEING:]
        return len(last) < AGREEING or agree([round_.ratio for round_ in last])

    @property
    def engine_fps(self) -> float:
        return median(round_.engine_fps for round_ in self.rounds)

    @property
    def loop_fps(self) -> float:
        return median(round_.loop_fps for round_ in self.rounds)


def check_ends(uri: str) -> None:
    """Raise UsageError for a source that never ends or that sets its own rate."""
    name = without_credentials(uri)
    if waits(uri):
        raise UsageError(f"{name}: a watched folder has no end to measure. Give the folder itself.")
    if is_live(uri):
        raise UsageError(
            f"{name}: a live camera sets its own rate and has no end, so neither engine nor loop "
            "would be measured. Expected a video or a folder of images. Record some: edge-ad "
            "capture --camera ..., and measure at the camera's rate with --rate."
        )


def check_judged(uri: str) -> None:
    """Raise, as `decoded` does, for a source without a frame that a line would judge."""
    with contextlib.closing(decoded(uri)) as frames:
        next(frames)


def decoded(uri: str, left_out: Counter[str] | None = None) -> Generator[Frame, None, None]:
    """Yield the frames of a video or folder that a line would judge; count others by their reason.

    INVALID ones cost no engine call, so that a loop would seem faster with them than it is. Raises
    SourceLost when there are none to judge, UsageError as `check_ends` does.
    """
    check_ends(uri)
    left_out, some = Counter() if left_out is None else left_out, False
    gate = FrameGate(live=False)
    with open_source(uri) as source:
        for grab in source:
            fault = grab.reason if isinstance(grab, BadFrame) else gate.fault(grab)
            if isinstance(grab, Frame) and not fault:
                some = True
                yield grab
                continue
            left_out[fault.partition(":")[0]] += 1
            if not some and left_out.total() >= _HOPELESS:
                break
    if not some:
        raise SourceLost(f"{without_credentials(uri)}: {_nothing(left_out)}")


def _nothing(left_out: Counter[str]) -> str:
    """Say why there is nothing to measure with."""
    if not left_out:
        return "no frames to measure with."
    return (
        f"no frames to measure with: all {left_out.total()} that were read are INVALID "
        f"({_reasons(left_out)}), so a line would judge none of them."
    )


def _reasons(left_out: Mapping[str, int]) -> str:
    """Return reasons in words, the most frequent first."""
    ordered = sorted(left_out.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {reason}" for reason, count in ordered)


def load_batches(
    uri: str,
    engine: Engine,
    at_most: int,
    geometry: Geometry | None = None,
    left_out: Counter[str] | None = None,
) -> list[Image]:
    """Return the engine's input for the frames of a source, as the loop preprocesses them.

    Frames that cannot be judged are counted in `left_out`.
    """
    manifest = engine.manifest
    preprocess = Preprocess(manifest.size_hw, geometry or manifest.geometry)
    frames = itertools.islice(decoded(uri, left_out), at_most)
    return [preprocess(frame.image) for frame in frames]


def bench_loop(
    engine: Engine, config: LineConfig, *, rounds: int, warmup_s: float = 0.2
) -> LoopBench:
    """Measure the loop and the engine alone on a file's frames, alternately, `rounds` times.

    `engine` is the configuration's, open; the line opens another, as `run` does. The source must be
    a file or folder, since a camera sets its own rate. `config.frames` limits the frames of a
    round; 0 means all whose batches fit in IN_MEMORY.
    """
    (camera,) = config.resolve()
    geometry = engine.manifest.geometry.changed(camera.geometry)
    tiles = geometry.tile_count * math.prod(engine.manifest.size_hw) * 3  # bytes of a frame's
    room = max(_LEAST, IN_MEMORY // tiles)
    invalid: Counter[str] = Counter()
    batches = load_batches(camera.uri, engine, config.frames or room, geometry, invalid)
    config = replace(config, frames=len(batches) + invalid.total())
    time_engine(engine, batches, warmup_s=warmup_s, duration_s=0.0, at_most=1)
    measured: list[Round] = []
    latency: list[float] = []
    engine_calls: list[float] = []
    for _ in range(rounds):
        calls = _call_each(engine, batches)
        loop_fps = _run_loop(config, latency)
        engine_calls += calls
        measured.append(Round(len(batches) / sum(calls), loop_fps))
    return LoopBench(tuple(measured), len(batches), invalid, tuple(latency), tuple(engine_calls))


def _run_loop(config: LineConfig, latency: list[float]) -> float:
    """Run the loop once, without outlets, and return the frames that it judged per second."""
    with open_line(config, []) as line:
        line.start()
        line.wait(3600.0)
        result = line.finish()
        line.raise_errors()
        tally = line.cameras[0].tally
        latency += tally.latency_s
    fps = result["fps"]
    assert isinstance(fps, float)
    return fps * tally.judged / max(1, tally.frames)


def _call_each(engine: Engine, batches: Sequence[Image]) -> list[float]:
    return [timed_call(engine, batch) for batch in batches]
