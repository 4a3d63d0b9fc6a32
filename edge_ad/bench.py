"""Measure speed: the engine alone, and the whole loop beside it.

Machines are noisy, so the two are measured alternately and compared round by round.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from edge_ad.engine import Engine
from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import Frame, Image
from edge_ad.geometry import Geometry
from edge_ad.line.config import LineConfig
from edge_ad.line.open import open_line
from edge_ad.line.tally import percentiles_ms
from edge_ad.precision import PRECISIONS, Precision
from edge_ad.preprocess import Preprocess
from edge_ad.source import open_source
from edge_ad.source.open import waits


@dataclass(frozen=True, slots=True)
class Round:
    """One round: frames per second of the engine alone and of the loop, on the same frames."""

    engine_fps: float
    loop_fps: float


@dataclass(frozen=True, slots=True)
class LoopBench:
    """The rounds of one measurement, and percentiles in milliseconds."""

    rounds: tuple[Round, ...]
    frames: int
    latency_ms: dict[str, float]
    engine_ms: dict[str, float]

    @property
    def ratio(self) -> float:
        """Return the median over the rounds of loop over engine throughput."""
        return median(round_.loop_fps / round_.engine_fps for round_ in self.rounds)

    @property
    def engine_fps(self) -> float:
        return median(round_.engine_fps for round_ in self.rounds)

    @property
    def loop_fps(self) -> float:
        return median(round_.loop_fps for round_ in self.rounds)


def time_engine(
    engine: Engine, batches: Sequence[Image], *, warmup_s: float = 0.2, duration_s: float = 3.0
) -> list[float]:
    """Return the seconds of each call of `infer`, cycling over the batches, after a warm-up."""
    cycle = itertools.cycle(batches)
    _call_until(engine, cycle, time.perf_counter() + warmup_s)
    return _call_until(engine, cycle, time.perf_counter() + duration_s)


def time_in_turn(
    engines: Mapping[Precision, Engine], batch: Image, runs: int
) -> dict[Precision, float]:
    """Return the median milliseconds an image, calling the engines alternately."""
    samples: dict[Precision, list[float]] = {name: [] for name in engines}
    for _ in range(runs + 1):  # the first run warms up
        for name, engine in engines.items():
            samples[name].append(_timed_call(engine, batch) / len(batch))
    return {name: 1e3 * median(times[1:]) for name, times in samples.items()}


def fastest(times: Mapping[Precision, float], margin: float) -> Precision:
    """Return the simplest precision that no other beats by more than the margin.

    `times` has fp32 and the precisions that may be deployed instead. With a margin of 0.05, a
    precision must be 5 % faster than the best simpler one.
    """
    winner: Precision = "fp32"
    for precision in PRECISIONS:
        if precision in times and times[precision] * (1 + margin) < times[winner]:
            winner = precision
    return winner


def load_batches(
    uri: str, engine: Engine, at_most: int, geometry: Geometry | None = None
) -> list[Image]:
    """Return the engine's input for the frames of a source, as the loop preprocesses them."""
    if waits(uri):
        raise UsageError(f"{uri}: a watched folder has no end to measure. Give the folder itself.")
    manifest = engine.manifest
    preprocess = Preprocess(manifest.size_hw, geometry or manifest.geometry)
    with open_source(uri) as source:
        images = (grab.image for grab in source if isinstance(grab, Frame))
        batches = [preprocess(image) for image in itertools.islice(images, at_most)]
    if not batches:
        raise SourceLost(f"{uri}: no frames to measure with.")
    return batches


def bench_loop(config: LineConfig, *, rounds: int = 5) -> LoopBench:
    """Measure the loop and the engine alone on a file's frames, alternately, `rounds` times.

    The source must be a file or folder, since a camera sets its own rate. `config.frames` limits
    the frames of a round; 0 means all.
    """
    (uri,) = config.cameras
    with config.open_engine() as engine:
        geometry = engine.manifest.geometry.changed(config.geometry)
        batches = load_batches(uri, engine, config.frames or 10_000, geometry)
        time_engine(engine, batches, duration_s=0.0)
        measured, latency, engine_calls = [], deque[float](), deque[float]()
        for _ in range(rounds):
            calls = _call_each(engine, batches)
            loop_fps = _run_loop(config, latency)
            engine_calls.extend(calls)
            measured.append(Round(len(batches) / sum(calls), loop_fps))
    return LoopBench(
        tuple(measured),
        len(batches),
        percentiles_ms(latency) or {},
        percentiles_ms(engine_calls) or {},
    )


def _run_loop(config: LineConfig, latency: deque[float]) -> float:
    """Run the loop once, without outlets, and return its frames per second."""
    with open_line(config, []) as line:
        line.start()
        line.wait(3600.0)
        result = line.finish()
        line.raise_errors()
        latency.extend(line.cameras[0].tally.latency_s)
    fps = result["fps"]
    assert isinstance(fps, float)
    return fps


def _call_each(engine: Engine, batches: Sequence[Image]) -> list[float]:
    return [_timed_call(engine, batch) for batch in batches]


def _call_until(engine: Engine, batches: itertools.cycle[Image], until: float) -> list[float]:
    times = [_timed_call(engine, next(batches))]
    while time.perf_counter() < until:
        times.append(_timed_call(engine, next(batches)))
    return times


def _timed_call(engine: Engine, batch: Image) -> float:
    began = time.perf_counter()
    engine.infer(batch)
    return time.perf_counter() - began
