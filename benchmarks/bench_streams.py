"""Measure four live streams on one engine against the engine alone, in turn.

    python benchmarks/bench_streams.py [--engine FILE --camera URI] [--streams 4] [--rounds 7]

Each stream delivers a quarter more than its share of what the engine can do, so that the line never
waits for a frame; those it cannot take it drops, as a live line does. The ratio is the verdicts of
all streams a second over the engine's calls a second, taken round by round. `busy` is the share of
the time in which the engine works: the rest is the line's.
"""

from __future__ import annotations

import argparse
import os
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

from results import write_result  # the script's own folder is on the path

from edge_ad.bench.loop import decoded, load_batches
from edge_ad.bench.replay import Replay
from edge_ad.engine import Engine, open_engine
from edge_ad.frame import Image
from edge_ad.line.judge import resolve_thresholds
from edge_ad.sidecar import load_sidecar

SAMPLE = Path(__file__).resolve().parent.parent / "edge_ad" / "sample"
FRAMES = 200
_MORE = 1.25


class Row(NamedTuple):
    """One round: calls a second of the engine alone, verdicts of the line, and the busy share."""

    engine_fps: float
    line_fps: float
    busy: float


def engine_fps(engine: Engine, batches: list[Image], duration_s: float) -> float:
    """Return the calls a second of the engine alone."""
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < duration_s:
        engine.infer(batches[calls % len(batches)])
        calls += 1
    return calls / (time.perf_counter() - began)


def measure(options: argparse.Namespace) -> tuple[list[Row], str]:
    """Return what each round measured, and the engine's precision."""
    rounds = []
    with open_engine(options.engine) as engine:
        trained = engine.manifest.geometry
        thresholds = resolve_thresholds(
            options.engine, load_sidecar(options.engine), trained, trained
        )
        frames = list(islice(decoded(options.camera), FRAMES))
        batches = load_batches(options.camera, engine, FRAMES)
        replay = Replay(frames, engine, thresholds, trained)
        engine_fps(engine, batches, 1.0)  # the first calls warm up
        for _ in range(options.rounds):
            alone = engine_fps(engine, batches, options.seconds)
            began = time.perf_counter()
            line = replay.run(options.streams, _MORE * alone / options.streams, options.seconds)
            took_s = time.perf_counter() - began
            fps = sum(tally.judged for tally in line.tallies) / took_s
            rounds.append(Row(alone, fps, line.engine_s / took_s))
            print(f"engine {alone:7.2f}/s   line {fps:7.2f}/s   ratio {fps / alone:.3f}")
        return rounds, engine.manifest.precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, default=SAMPLE / "engine.onnx")
    parser.add_argument("--camera", default=str(SAMPLE / "footage.mp4"))
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--name", default="sample")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rounds, precision = measure(options)
    samples = {name: [getattr(row, name) for row in rounds] for name in Row._fields}
    metrics = {
        "engine_fps": round(median(samples["engine_fps"]), 2),
        "line_fps": round(median(samples["line_fps"]), 2),
        "ratio": round(median(row.line_fps / row.engine_fps for row in rounds), 4),
        "busy": round(median(samples["busy"]), 4),
        "load_average": round(load, 2),
    }
    settings = {key: getattr(options, key) for key in ("streams", "rounds", "seconds")}
    print(
        write_result(
            "streams", f"{options.name} {options.streams} live", precision,
            metrics=metrics, samples=samples, settings=settings,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
