"""Measures what the sensitivity search costs and finds: every block alone in int8, and all but it.

python benchmarks/int8_sensitivity.py --images GOOD_DIR
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict
from pathlib import Path

from int8_untrained import engine_or_untrained  # the script's own folder is on the path
from results import write_result

from edge_ad.calibration.quantize.block_costs import block_costs
from edge_ad.calibration.quantize.eval_set import synthetic_eval_set
from edge_ad.calibration.quantize.evaluator import Candidate, CandidateEvaluator, ResultCache
from edge_ad.calibration.quantize.gate import GateLimits
from edge_ad.calibration.quantize.placement import PlacementOverrides, place
from edge_ad.calibration.quantize.search import PlacementSearch
from edge_ad.calibration.ranges.collect import collect
from edge_ad.calibration.ranges.image_set import choose
from edge_ad.dataset import normal_images
from edge_ad.onnx_graph.index import load_graph


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, help="Default: an untrained DeSTSeg, 256x256.")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--name", default="destseg_256_untrained")
    parser.add_argument("--target", choices=["tensorrt", "onnxruntime"], default="onnxruntime")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--method", default="mse")
    wanted = parser.parse_args()
    with engine_or_untrained(wanted.engine) as engine:
        graph = load_graph(engine)
    paths = normal_images(wanted.images)
    tensors = place(graph, wanted.target).tensors
    table = collect(graph, tensors, wanted.target, choose(paths, samples=32, synthetic=0.2)).table
    exam = synthetic_eval_set(paths, graph.manifest, limit=wanted.images, seed=0)
    trials = CandidateEvaluator(
        graph, table, exam, PlacementOverrides(), ResultCache(None, "", resume=False)
    )
    search = PlacementSearch(trials, GateLimits(), block_costs(graph), images=wanted.images)
    began, busy = time.perf_counter(), time.process_time()
    blocks = search.sensitivity(wanted.method)
    seconds, cpu = time.perf_counter() - began, time.process_time() - busy
    path = write_result(
        "int8_sensitivity",
        f"{wanted.name}_{wanted.target}",
        "int8",
        metrics={
            "minutes": seconds / 60,
            "cpu_minutes": cpu / 60,
            "load_average": os.getloadavg()[0],
            "everything_int8": trials.error(Candidate(wanted.method), wanted.images),
            "blocks": [asdict(block) for block in blocks],
        },
        settings={
            "images": wanted.images,
            "method": wanted.method,
            "target": wanted.target,
            "size_hw": graph.manifest.size_hw,
        },
    )
    print(path.read_text()[:600])


if __name__ == "__main__":
    main()
