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


def engine_fps(engine: Engine, batches: list[Image], duration_s: float) -> float:
    """Return the calls a second of the engine alone."""
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < duration_s:
        engine.infer(batches[calls % len(batches)])
        calls += 1
    return calls / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, default=SAMPLE / "engine.onnx")
    parser.add_argument("--camera", default=str(SAMPLE / "footage.mp4"))
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--name", default="sample")
    options = parser.parse_args()
    rounds, load = [], os.getloadavg()[0]
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
            rounds.append((alone, fps, line.engine_s / took_s))
            print(f"engine {alone:7.2f}/s   line {fps:7.2f}/s   ratio {fps / alone:.3f}")
        precision = engine.manifest.precision
    metrics = {
        "engine_fps": round(median(row[0] for row in rounds), 2),
        "line_fps": round(median(row[1] for row in rounds), 2),
        "ratio": round(median(fps / alone for alone, fps, _ in rounds), 4),
        "busy": round(median(row[2] for row in rounds), 4),
        "load_average": round(load, 2),
    }
    names = ("engine_fps", "line_fps", "busy")
    samples = {name: [row[column] for row in rounds] for column, name in enumerate(names)}
    settings = {key: getattr(options, key) for key in ("streams", "rounds", "seconds")}
    print(
        write_result(
            "streams", f"{options.name} {options.streams} live", precision,
            metrics=metrics, samples=samples, settings=settings,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
