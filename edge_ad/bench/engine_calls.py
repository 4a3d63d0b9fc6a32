"""Time an engine's calls: alone, and several engines in turn."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from statistics import median

import numpy as np

from edge_ad.bench.windows import AGREEING, AT_MOST, Windows, measure_windows
from edge_ad.engine import Engine
from edge_ad.frame import Image
from edge_ad.machine.energy import EnergyMeter
from edge_ad.precision import PRECISIONS, Precision


def time_engine(
    engine: Engine,
    batches: Sequence[Image],
    *,
    warmup_s: float = 0.2,
    duration_s: float = 9.0,
    at_most: int = AT_MOST,
) -> Windows:
    """Time calls of `infer` in windows of a third of `duration_s`, cycling over the batches."""
    cycle = itertools.cycle(batches)
    _call_for(engine, cycle, warmup_s)
    return measure_windows(partial(_call_for, engine, cycle, duration_s / AGREEING), at_most)


def random_batch(engine: Engine, count: int | None = None) -> Image:
    """Return noise uint8 (count, H, W, 3): the time of a network does not depend on its input.

    Without `count`, as many images as the engine takes a call.
    """
    shape = (count or engine.manifest.batch or 1, *engine.manifest.size_hw, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def time_in_turn(
    engines: Mapping[Precision, Engine], batch: Image, runs: int
) -> dict[Precision, float]:
    """Return the median milliseconds an image, calling the engines alternately."""
    samples: dict[Precision, list[float]] = {name: [] for name in engines}
    for _ in range(runs + 1):  # the first run warms up
        for name, engine in engines.items():
            samples[name].append(timed_call(engine, batch) / len(batch))
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


def measure_energy(
    engine: Engine, batch: Image, meters: Sequence[EnergyMeter], duration_s: float
) -> list[dict[str, object]]:
    """Return what each meter counts while the engine works flat out: watts, joules an image.

    A meter counts all that its device takes, also when nothing runs on it.
    """
    before = [meter.joules() for meter in meters]
    began = time.perf_counter()
    images = len(batch) * len(_call_for(engine, itertools.repeat(batch), duration_s))
    elapsed_s = time.perf_counter() - began
    spent = [meter.joules() - start for meter, start in zip(meters, before, strict=True)]
    return [
        {
            "of": meter.name,
            "watts": round(joules / elapsed_s, 3),
            "joules_per_image": round(joules / images, 6),
        }
        for meter, joules in zip(meters, spent, strict=True)
    ]


def timed_call(engine: Engine, batch: Image) -> float:
    """Return the seconds of one call."""
    began = time.perf_counter()
    engine.infer(batch)
    return time.perf_counter() - began


def _call_for(engine: Engine, batches: Iterator[Image], duration_s: float) -> list[float]:
    until = time.perf_counter() + duration_s
    times = [timed_call(engine, next(batches))]
    while time.perf_counter() < until:
        times.append(timed_call(engine, next(batches)))
    return times
