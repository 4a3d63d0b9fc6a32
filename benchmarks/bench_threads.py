"""Measure settings of ONNX Runtime's threads beside busy processes, and the rule that chooses.

    python benchmarks/bench_threads.py [--busy 0 1 2 6] [--rounds 8]

For each number of busy processes, an engine as `run` opens it first makes its choice. Then it and
every fixed setting run the sample engine in turn, in blocks of 20 calls; the first of a block is
not counted. On a shared machine, blocks in turn are what keeps the comparison fair. Blocks in which
the rule tries other settings are repeated: those are one call in 250, which so few would not show.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from results import write_result  # the script's own folder is on the path

from edge_ad.engine.base import INPUT
from edge_ad.engine.onnxruntime import open_session
from edge_ad.engine.options import EngineOptions
from edge_ad.engine.switching import SwitchingEngine
from edge_ad.engine.thread_variants import map_variants, thread_settings
from edge_ad.machine.other_work import OtherWork

SAMPLE = Path(__file__).resolve().parent.parent / "edge_ad" / "sample" / "engine.onnx"
BLOCK = 20
RULE = "run"


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep `count` processes computing in the block."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(1.0)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def name_of(threads: int, *, spin: bool) -> str:
    """Return a setting's name in the result file."""
    return f"{threads or 'per_core_pinned'}_{'spinning' if spin else 'waiting'}"


def measure(level: int, rounds: int) -> dict[str, list[float]]:
    """Return the times in ms of each setting and of the rule, beside `level` busy processes."""
    with busy(level), SwitchingEngine(SAMPLE, EngineOptions()) as adaptive:
        size = (1, *adaptive.manifest.size_hw, 3)
        batch = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        with TemporaryDirectory() as folder:
            graph = Path(folder) / "graph.onnx"
            open_session(SAMPLE, EngineOptions(), graph)
            sessions = map_variants(graph)
        runs: dict[str, Callable[[], Any]] = {
            name_of(threads, spin=spin): partial(session.run, None, {INPUT: batch})
            for (threads, spin), session in zip(thread_settings(), sessions, strict=True)
        }
        runs[RULE] = partial(adaptive.infer, batch)
        while not adaptive.reviews:
            adaptive.infer(batch)
        times: dict[str, list[float]] = {name: [] for name in runs}
        reviews = adaptive.reviews
        for _ in range(rounds):
            for name, run in runs.items():
                block = timed_block(run)
                while name == RULE and (adaptive.reviewing or adaptive.reviews > reviews):
                    reviews = adaptive.reviews
                    block = timed_block(run)
                times[name] += block
        return times


def timed_block(run: Callable[[], Any]) -> list[float]:
    """Return the times in ms of a block's calls but the first."""
    return [timed_ms(run) for _ in range(BLOCK)][1:]


def timed_ms(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e3


def metrics(times: dict[str, list[float]]) -> dict[str, float]:
    """Return p50 and p99 of each, and the rule's over the best fixed setting's."""
    figures: dict[str, float] = {}
    for quantile in (50, 99):
        found = {name: float(np.percentile(values, quantile)) for name, values in times.items()}
        figures |= {f"{name}_p{quantile}_ms": round(value, 2) for name, value in found.items()}
        best = min(value for name, value in found.items() if name != RULE)
        figures[f"{RULE}_over_best_p{quantile}"] = round(found[RULE] / best, 3)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2, 6])
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    for level in options.busy:
        load = OtherWork()
        times = measure(level, options.rounds)
        settings = {
            "block": BLOCK,
            "rounds": options.rounds,
            "cores_busy_with_others": round(load.cores() or 0.0, 2),  # but for the busy ones
            "load_average": os.getloadavg()[0],
        }
        figures = metrics(times)
        samples = {name: np.round(values, 2).tolist() for name, values in times.items()}
        model = f"beside {level} busy"
        path = write_result(
            "threads", model, "fp32", metrics=figures, settings=settings, samples=samples
        )
        print(path.name, figures, flush=True)


if __name__ == "__main__":
    main()
