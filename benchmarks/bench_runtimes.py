"""Measure ONNX Runtime and OpenVINO on the same ONNX files, in turn, and how their scores differ.

    python benchmarks/bench_runtimes.py --engine FILE.onnx --camera IMAGES --name NAME [--rounds 9]

A round is a block of calls of each runtime with the same images; the ratio is taken round by round.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from statistics import median

import numpy as np
from results import write_result  # the script's own folder is on the path

from edge_ad.bench.loop import load_batches
from edge_ad.engine import Engine, EngineOptions, open_engine
from edge_ad.frame import Image

CALLS = 40


def block_ms(engine: Engine, batches: list[Image]) -> float:
    """Return the median milliseconds of a block of calls."""
    times = []
    for number in range(CALLS):
        began = time.perf_counter()
        engine.infer(batches[number % len(batches)])
        times.append(1e3 * (time.perf_counter() - began))
    return median(times)


def largest_difference(first: Engine, second: Engine, batches: list[Image]) -> float:
    """Return the largest difference of two engines' scores, as a share of the median score."""
    scores = [
        np.array([float(engine.infer(batch).scores.max()) for batch in batches])
        for engine in (first, second)
    ]
    return float(np.abs(scores[0] - scores[1]).max() / np.median(scores[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--camera", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    vino = EngineOptions(runtime="openvino")
    load = os.getloadavg()[0]
    with open_engine(options.engine) as first, open_engine(options.engine, vino) as second:
        batches = load_batches(options.camera, first, CALLS)
        rounds = [
            (block_ms(first, batches), block_ms(second, batches)) for _ in range(options.rounds)
        ]
        differ = largest_difference(first, second, batches)
        precision = first.manifest.precision
    metrics = {
        "onnxruntime_ms": round(median(row[0] for row in rounds), 3),
        "openvino_ms": round(median(row[1] for row in rounds), 3),
        "times_faster": round(median(row[0] / row[1] for row in rounds), 3),
        "largest_score_difference": differ,
        "load_average": load,
    }
    samples = {"onnxruntime_ms": [row[0] for row in rounds], "openvino_ms": [r[1] for r in rounds]}
    print(metrics)
    print(write_result("runtimes", options.name, precision, metrics=metrics, samples=samples))


if __name__ == "__main__":
    main()
