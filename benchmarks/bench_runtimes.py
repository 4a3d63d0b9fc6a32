"""Measure ONNX Runtime and OpenVINO on the same ONNX files, in turn, and how their scores differ.

    python benchmarks/bench_runtimes.py [--int8] [--threads 1] [--engine FILE.onnx --name NAME]

A round is a block of calls of each runtime with the same images, of the shipped footage unless
--camera names others. --int8 quantizes the engine first, by those images. The ratio is taken round
by round. With one thread it is that of the processor time, which a busy machine changes little;
else that of the time that passes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from int8_quantizers import by_edge_ad  # the script's own folder is on the path
from results import write_result

from edge_ad.bench.loop import decoded, load_batches
from edge_ad.calibration.ranges.image_set import choose
from edge_ad.engine import Engine, EngineOptions, open_engine
from edge_ad.frame import Image
from edge_ad.images import write_image
from edge_ad.onnx_graph.index import load_graph

SAMPLE = Path(__file__).resolve().parent.parent / "edge_ad" / "sample"
FRAMES = 40
Block = tuple[float, float]  # milliseconds, and those of processor time
Round = tuple[Block, Block]  # of ONNX Runtime and of OpenVINO


def quantized(engine: Path, camera: str, folder: Path) -> Path:
    """Write the engine in int8, as `edge-ad calibrate` does, with the ranges of the frames."""
    graph = load_graph(engine)
    for number, frame in enumerate(islice(decoded(camera), FRAMES)):
        write_image(folder / f"{number:02}.png", frame.image)
    images = choose(sorted(folder.glob("*.png")), samples=FRAMES)
    path = folder / "int8.onnx"
    onnx.save(by_edge_ad(graph, "onnxruntime", images), path)
    return path


def block_ms(engine: Engine, batches: list[Image], calls: int) -> Block:
    """Return the median milliseconds and processor milliseconds of a block of calls."""
    times, busy = [], []
    for number in range(calls):
        began, used = time.perf_counter(), time.process_time()
        engine.infer(batches[number % len(batches)])
        times.append(1e3 * (time.perf_counter() - began))
        busy.append(1e3 * (time.process_time() - used))
    return median(times), median(busy)


def largest_difference(first: Engine, second: Engine, batches: list[Image]) -> float:
    """Return the largest difference of two engines' scores, as a share of the median score."""
    scores = [
        np.array([float(engine.infer(batch).scores.max()) for batch in batches])
        for engine in (first, second)
    ]
    return float(np.abs(scores[0] - scores[1]).max() / np.median(scores[0]))


def measure(options: argparse.Namespace) -> tuple[list[Round], float, str]:
    """Return the rounds, how much the scores differ, and the engine's precision."""
    ort = EngineOptions(threads=options.threads)
    vino = EngineOptions(runtime="openvino", threads=options.threads)
    with ExitStack() as stack:
        path = options.engine
        if options.int8:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            path = quantized(path, options.camera, folder)
        first, second = (stack.enter_context(open_engine(path, how)) for how in (ort, vino))
        batches = load_batches(options.camera, first, FRAMES)
        for engine in (first, second):
            block_ms(engine, batches, 3)  # the first calls warm up
        rounds = [
            (block_ms(first, batches, options.calls), block_ms(second, batches, options.calls))
            for _ in range(options.rounds)
        ]
        precision = "int8" if options.int8 else first.manifest.precision
        return rounds, largest_difference(first, second, batches), precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, default=SAMPLE / "engine.onnx")
    parser.add_argument("--camera", default=str(SAMPLE / "footage.mp4"))
    parser.add_argument("--name", default="sample")
    parser.add_argument("--int8", action="store_true", help="Quantize the engine first.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=40, help="In a block.")
    parser.add_argument("--threads", type=int, default=0, help="0: each runtime's own choice.")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rounds, differ, precision = measure(options)
    which = int(options.threads == 1)
    metrics: dict[str, float] = {}
    samples: dict[str, list[float]] = {}
    for column, name in enumerate(("onnxruntime", "openvino")):
        for kind, key in enumerate(("ms", "processor_ms")):
            samples[f"{name}_{key}"] = [row[column][kind] for row in rounds]
            metrics[f"{name}_{key}"] = round(median(samples[f"{name}_{key}"]), 3)
    metrics["times_faster"] = round(median(a[which] / b[which] for a, b in rounds), 3)
    metrics["largest_score_difference"] = differ
    metrics["load_average"] = load
    settings = {key: getattr(options, key) for key in ("threads", "rounds", "calls")}
    print(metrics)
    print(
        write_result(
            "runtimes", f"{options.name} {precision}", precision,
            metrics=metrics, samples=samples, settings=settings,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
