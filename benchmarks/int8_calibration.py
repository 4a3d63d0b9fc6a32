"""Measure how long ranges take, for one method and for all, and what memory they need.

    python benchmarks/int8_calibration.py --images GOOD_DIR

Every variant runs in a separate process, to measure its peak memory. CPU seconds count all cores
and leave out other processes; seconds are wall-clock time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from int8_untrained import engine_or_untrained  # the script's own folder is on the path
from numpy.typing import NDArray
from results import write_result

from edge_ad.calibration.quantize.placement import place, to_quantize
from edge_ad.calibration.ranges.collect import collect
from edge_ad.calibration.ranges.histogram import Histogram
from edge_ad.calibration.ranges.image_set import choose
from edge_ad.calibration.ranges.methods import METHODS
from edge_ad.calibration.ranges.target import Target
from edge_ad.dataset import normal_images
from edge_ad.onnx_graph.index import load_graph

VARIANTS = ("minmax", "all")


def measure(engine: Path, folder: Path, target: Target, variant: str, count: int) -> Any:
    """Return seconds and peak memory of one pass; `minmax` keeps no histogram."""
    began = time.perf_counter()
    graph = to_quantize(load_graph(engine), target)
    images = choose(normal_images(folder), samples=count, synthetic=0.2)
    tensors = place(graph, target).tensors
    with _only_minmax() if variant == "minmax" else nullcontext():
        table, _ = collect(graph, tensors, target, images)
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time(),
        "images": table.images,
        "tensors": len(table.tensors),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


class Extremes(Histogram):
    """The state of a calibrator that needs only least and largest values."""

    def _count(self, values: NDArray[np.float32]) -> None:
        self.counts[-1] += values.size


@contextmanager
def _only_minmax() -> Iterator[None]:
    module = "edge_ad.calibration.ranges.collect"
    with (
        patch(f"{module}.Histogram", Extremes),
        patch(
            f"{module}.amax_by_method",
            lambda histogram, steps: dict.fromkeys(METHODS, histogram.amax),
        ),
    ):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, help="Default: an untrained DeSTSeg, 256x256.")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--name", default="destseg_256_untrained")
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--target", choices=["tensorrt", "onnxruntime"], default="onnxruntime")
    parser.add_argument("--variant", choices=VARIANTS)
    args = parser.parse_args()
    if args.variant:
        result = measure(args.engine, args.images, args.target, args.variant, args.count)
        print(json.dumps(result))
        return
    with engine_or_untrained(args.engine) as engine:
        results = {name: in_subprocess(name, engine) for name in VARIANTS}
    ratio = results["all"]["cpu_seconds"] / results["minmax"]["cpu_seconds"]
    path = write_result(
        "int8_calibration",
        f"{args.name}_{args.target}",
        "int8",
        metrics={
            "minutes_for_512": results["all"]["seconds"] / args.count * 512 / 60,
            "all_over_minmax_cpu": ratio,
            "peak_mib": results["all"]["peak_mib"],
            "load_average": os.getloadavg()[0],
            **results,
        },
        settings={"images": args.count, "target": args.target},
    )
    print(path.read_text())


def in_subprocess(variant: str, engine: Path) -> Any:
    """Run `measure` in a new process with the options of this one, and return its result."""
    command = [sys.executable, *sys.argv, "--variant", variant, "--engine", str(engine)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
