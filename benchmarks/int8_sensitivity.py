"""Measure the cost and result of the sensitivity search: each block alone in int8, and all but it.

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

from edge_ad.calibration.quantize.eval_set import synthetic_eval_set
from edge_ad.calibration.quantize.evaluator import Candidate, CandidateEvaluator
from edge_ad.calibration.quantize.gate import GateLimits
from edge_ad.calibration.quantize.placement import block_costs, place, to_quantize
from edge_ad.calibration.quantize.result_cache import ResultCache
from edge_ad.calibration.quantize.rules import PlacementOverrides
from edge_ad.calibration.quantize.search import PlacementSearch
from edge_ad.calibration.ranges.collect import collect
from edge_ad.calibration.ranges.image_set import choose
from edge_ad.dataset import normal_images
from edge_ad.onnx_graph.index import load_graph


def open_search(args: argparse.Namespace) -> tuple[PlacementSearch, CandidateEvaluator]:
    """Return the search of an engine's blocks, on images with synthetic anomalies."""
    with engine_or_untrained(args.engine) as engine:
        graph = to_quantize(load_graph(engine), args.target)
    paths = normal_images(args.images)
    images = choose(paths, samples=32, synthetic=0.2)
    table, _ = collect(graph, place(graph, args.target).tensors, args.target, images)
    eval_set = synthetic_eval_set(paths, graph.manifest, limit=args.gate_images, seed=0)
    evaluator = CandidateEvaluator(
        graph, table, eval_set, PlacementOverrides(), ResultCache(None, "", resume=False)
    )
    costs = block_costs(graph)
    return PlacementSearch(evaluator, GateLimits(), costs, images=args.gate_images), evaluator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, help="Default: an untrained DeSTSeg, 256x256.")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--name", default="destseg_256_untrained")
    parser.add_argument("--target", choices=["tensorrt", "onnxruntime"], default="onnxruntime")
    parser.add_argument("--gate-images", type=int, default=16)
    parser.add_argument("--method", default="mse")
    args = parser.parse_args()
    search, evaluator = open_search(args)
    began, busy = time.perf_counter(), time.process_time()
    blocks = search.sensitivity(args.method)
    seconds, cpu = time.perf_counter() - began, time.process_time() - busy
    path = write_result(
        "int8_sensitivity",
        f"{args.name}_{args.target}",
        "int8",
        metrics={
            "minutes": seconds / 60,
            "cpu_minutes": cpu / 60,
            "load_average": os.getloadavg()[0],
            "all_int8": evaluator.error(Candidate(args.method), args.gate_images),
            "blocks": [asdict(block) for block in blocks],
        },
        settings={
            "images": args.gate_images,
            "method": args.method,
            "target": args.target,
            "size_hw": evaluator.graph.manifest.size_hw,
        },
    )
    print(path.read_text()[:600])


if __name__ == "__main__":
    main()
