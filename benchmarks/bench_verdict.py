"""Time image file to verdict of several engines, in turn, on the same image files.

    python benchmarks/bench_verdict.py --name patchcore --images DIR fp32=A.onnx int8=B.onnx
    python benchmarks/bench_verdict.py --name prior --images DIR plain=A.onnx prior=B.onnx

One call decodes the file, cuts it to the network's input, runs the network and takes the score.
Engines alternate (A B A B), so that all meet the same load. Beside the time that passed the file
has processor time: with --threads 1 it is what one idle core takes, and a busy machine, which
doubles the time that passes, changes it little. The ratio to the first engine is that of processor
time.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from results import write_result  # the script's own folder is on the path

from edge_ad.dataset import normal_images
from edge_ad.engine import EngineOptions, open_engine
from edge_ad.images import read_image
from edge_ad.scoring import Scorer

WARM_UP = 3


def measure(
    engines: dict[str, Path], images: list[Path], rounds: int, options: EngineOptions
) -> dict[str, Any]:
    """Return the milliseconds of every call by engine: elapsed, and of the processor."""
    elapsed: dict[str, list[float]] = {name: [] for name in engines}
    spent: dict[str, list[float]] = {name: [] for name in engines}
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(open_engine(path, options)) for name, path in engines.items()
        }
        scorers = {name: Scorer(engine) for name, engine in opened.items()}
        for number in range(rounds + WARM_UP):
            path = images[number % len(images)]
            for name, scorer in scorers.items():
                began, before = time.perf_counter(), time.process_time()
                scorer(read_image(path))
                if number >= WARM_UP:
                    elapsed[name].append((time.perf_counter() - began) * 1e3)
                    spent[name].append((time.process_time() - before) * 1e3)
    return {"verdict_ms": elapsed, "processor_ms": spent}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="+", metavar="NAME=ENGINE.onnx")
    parser.add_argument("--name", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    engines = {name: Path(path) for name, path in (one.split("=", 1) for one in options.engines)}
    engine_options = EngineOptions(threads=options.threads)
    samples = measure(engines, normal_images(options.images), options.rounds, engine_options)
    metrics: dict[str, Any] = {
        f"{name}_{what}": median(values)
        for what, by_engine in samples.items()
        for name, values in by_engine.items()
    }
    first, *others = engines
    for name in others:
        metrics[f"{name}_ratio"] = (
            metrics[f"{name}_processor_ms"] / metrics[f"{first}_processor_ms"]
        )
    metrics["load_average"] = os.getloadavg()[0]
    settings = {"rounds": options.rounds, "threads": options.threads, "images": options.images.name,
                "engines": {name: path.name for name, path in engines.items()}}  # fmt: skip
    print(metrics)
    print(write_result("verdict", options.name, "all", metrics=metrics, settings=settings,
                       samples=samples))  # fmt: skip


if __name__ == "__main__":
    main()
