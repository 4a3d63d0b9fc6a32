"""How fast a machine judges: the engine alone, and the whole loop beside it, taken in turn.

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
from edge_ad.errors import SourceLost
from edge_ad.frame import Frame, Image
from edge_ad.geometry import Geometry
from edge_ad.line.config import LineConfig
from edge_ad.line.open import open_line
from edge_ad.line.tally import percentiles_ms
from edge_ad.precision import PRECISIONS, Precision
from edge_ad.preprocess import Preprocess
from edge_ad.source import open_source


@dataclass(frozen=True, slots=True)
class Round:
    """One turn: frames per second of the bare engine and of the loop on the same frames."""

    engine_fps: float
    loop_fps: float


@dataclass(frozen=True, slots=True)
class LoopBench:
    """`ratio` is the median over the rounds of loop over engine throughput."""

    rounds: tuple[Round, ...]
    frames: int
    latency_ms: dict[str, float]
    engine_ms: dict[str, float]

    @property
    def ratio(self) -> float:
        return median(one.loop_fps / one.engine_fps for one in self.rounds)

    @property
    def engine_fps(self) -> float:
        return median(one.engine_fps for one in self.rounds)

    @property
    def loop_fps(self) -> float:
        return median(one.loop_fps for one in self.rounds)


def time_engine(
    engine: Engine, batches: Sequence[Image], *, warmup_s: float = 0.2, duration_s: float = 3.0
) -> list[float]:
    """Seconds of each call of `infer` over the batches in turn, after a warm-up not counted."""
    turn = itertools.cycle(batches)
    _call_until(engine, turn, time.perf_counter() + warmup_s)
    return _call_until(engine, turn, time.perf_counter() + duration_s)


def time_in_turn(
    engines: Mapping[Precision, Engine], batch: Image, runs: int
) -> dict[Precision, float]:
    """Median milliseconds an image, the engines in turn, so that they share every disturbance."""
    samples: dict[Precision, list[float]] = {name: [] for name in engines}
    for _ in range(runs + 1):  # the first run warms up
        for name, engine in engines.items():
            samples[name].append(_timed_call(engine, batch) / len(batch))
    return {name: 1e3 * median(taken[1:]) for name, taken in samples.items()}


def fastest(times: Mapping[Precision, float], margin: float) -> Precision:
    """The simplest precision that no other beats by more than the margin.

    `times` holds fp32 and what may be deployed beside it. 0.05 asks a precision to be 5 % faster
    than the best simpler one.
    """
    winner: Precision = "fp32"
    for precision in PRECISIONS:
        if precision in times and times[precision] * (1 + margin) < times[winner]:
            winner = precision
    return winner


def load_batches(
    uri: str, engine: Engine, at_most: int, geometry: Geometry | None = None
) -> list[Image]:
    """What the loop feeds the engine: the source's frames after preprocessing."""
    manifest = engine.manifest
    preprocess = Preprocess(manifest.size_hw, geometry or manifest.geometry)
    with open_source(uri) as source:
        images = (grab.image for grab in source if isinstance(grab, Frame))
        batches = [preprocess(image) for image in itertools.islice(images, at_most)]
    if not batches:
        raise SourceLost(f"{uri}: no frame to measure with.")
    return batches


def bench_loop(config: LineConfig, *, rounds: int = 5) -> LoopBench:
    """Judge a file's frames with the loop and with the engine alone, in turn, `rounds` times.

    The source must be a file or folder: a camera's rate is its own. `config.frames` bounds what
    one round takes; 0 is all.
    """
    (uri,) = config.cameras
    with config.open_engine() as engine:
        geometry = engine.manifest.geometry.changed(config.geometry)
        batches = load_batches(uri, engine, config.frames or 10_000, geometry)
        time_engine(engine, batches, duration_s=0.0)
        taken, latency, timed = [], deque[float](), deque[float]()
        for _ in range(rounds):
            calls = _call_each(engine, batches)
            summary = _judge_once(config, latency)
            timed.extend(calls)
            taken.append(Round(len(batches) / sum(calls), summary))
    return LoopBench(
        tuple(taken), len(batches), percentiles_ms(latency) or {}, percentiles_ms(timed) or {}
    )


def _judge_once(config: LineConfig, latency: deque[float]) -> float:
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
    taken = [_timed_call(engine, next(batches))]
    while time.perf_counter() < until:
        taken.append(_timed_call(engine, next(batches)))
    return taken


def _timed_call(engine: Engine, batch: Image) -> float:
    began = time.perf_counter()
    engine.infer(batch)
    return time.perf_counter() - began
