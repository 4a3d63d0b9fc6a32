"""Measure int8 against fp32 on ONNX Runtime, and edge-ad's placement against its quantizer.

    python benchmarks/int8_speed.py --images GOOD_DIR

All graphs take turns in one process, so that other load on the machine hits all of them. Processor
time (all threads, none of them spinning while it waits) stays meaningful on a busy machine; two
evenly loaded cores take half of it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from int8_quantizers import (  # the script's own folder is on the path
    by_edge_ad,
    by_onnxruntime,
    preprocess_images,
)
from int8_untrained import engine_or_untrained
from results import write_result

from edge_ad.calibration.ranges.image_set import choose
from edge_ad.dataset import normal_images
from edge_ad.engine.base import INPUT, MAP, SCORE
from edge_ad.onnx_graph.index import load_graph

EDGE_AD = "edge-ad for onnxruntime"
Times = dict[str, list[float]]  # milliseconds of each run, by graph


def candidate_models(
    engine: Path, folder: Path, count: int
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Yield fp32, edge-ad's files for both runtimes, and two of ONNX Runtime's quantizer."""
    graph = load_graph(engine)
    images = choose(normal_images(folder), samples=count)
    batches = preprocess_images(images, graph.manifest)
    yield "fp32", graph.model
    yield EDGE_AD, by_edge_ad(graph, "onnxruntime", images)
    yield "edge-ad for tensorrt", by_edge_ad(graph, "tensorrt", images)
    yield "onnxruntime, all operators", by_onnxruntime(engine, batches)
    yield (
        "onnxruntime, convolutions",
        by_onnxruntime(engine, batches, op_types_to_quantize=["Conv"]),
    )


def time_models(models: dict[str, onnx.ModelProto], batch: Any, runs: int) -> tuple[Times, Times]:
    """Return wall-clock and processor milliseconds of every run; the graphs take turns."""
    sessions = {name: non_spinning_session(model) for name, model in models.items()}
    clock: Times = {name: [] for name in sessions}
    cores: Times = {name: [] for name in sessions}
    for run in range(runs + 1):
        for name, session in sessions.items():
            began, busy = time.perf_counter(), time.process_time()
            session.run([MAP, SCORE], {INPUT: batch})
            if run:  # the first run warms up
                clock[name].append(1000 * (time.perf_counter() - began))
                cores[name].append(1000 * (time.process_time() - busy))
    return clock, cores


def non_spinning_session(model: onnx.ModelProto) -> ort.InferenceSession:
    """Open a session with two threads that sleep while they wait."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def figures(clock: Times, cores: Times) -> dict[str, Any]:
    """Return the times of each graph, and how they compare with fp32's."""
    medians = {name: float(np.median(times)) for name, times in clock.items()}
    fastest = {name: float(np.min(times)) for name, times in clock.items()}
    busy = {name: float(np.median(times)) for name, times in cores.items()}
    return {
        "times_faster": medians["fp32"] / medians[EDGE_AD],
        "times_less_processor_time": busy["fp32"] / busy[EDGE_AD],
        "load_average": os.getloadavg()[0],
        "processor_ms": busy,
        "median_ms": medians,
        "fastest_ms": fastest,
        "throughput_over_fp32": {n: medians["fp32"] / ms for n, ms in medians.items()},
        "throughput_over_fp32_fastest": {n: fastest["fp32"] / ms for n, ms in fastest.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, help="Default: an untrained DeSTSeg, 256x256.")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--name", default="destseg_256_untrained")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--count", type=int, default=16)
    args = parser.parse_args()
    with engine_or_untrained(args.engine) as engine:
        size_hw = load_graph(engine).manifest.size_hw
        models = dict(candidate_models(engine, args.images, args.count))
    frame = np.random.default_rng(0).integers(0, 256, (1, *size_hw, 3), np.uint8)
    clock, cores = time_models(models, frame, args.runs)
    path = write_result(
        "int8_speed",
        args.name,
        "int8",
        metrics=figures(clock, cores)
        | {"bytes": {name: model.ByteSize() for name, model in models.items()}},
        settings={
            "threads": 2,
            "runs": args.runs,
            "size_hw": size_hw,
            "method": "minmax",
            "images": args.count,
        },
        samples={"clock_ms": clock, "processor_ms": cores},
    )
    print(path.read_text()[:1500])


if __name__ == "__main__":
    main()
