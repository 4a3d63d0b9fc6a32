"""Measure where the time of fp32 and int8 goes, layer by layer, and how fast int8 could be at most.

    python benchmarks/int8_layers.py [--methods ear,pmb] [--runs 60]

The edge presets, with seeded weights: their maps mean nothing, their cost is real. Calls take
turns on one thread and are counted in processor time, which a busy machine changes little. Parts of
it are those of ONNX Runtime's profile. A product is a convolution or a matrix product.

`limit` is what int8 would reach if quantized products took a quarter of their time in fp32, as the
processor's int8 instructions allow (VNNI: four products for one), and everything else took as long
as it does in fp32. `limit_free` is the same with quantized products that take no time at all.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import torch
from int8_quantizers import by_edge_ad  # the script's own folder is on the path
from results import write_result
from untrained import spread_norms

from edge_ad.bench.roofline import LayerCost, profile_layers
from edge_ad.calibration.ranges.image_set import choose
from edge_ad.engine import EngineOptions, open_engine
from edge_ad.export.onnx import onnx_from_module
from edge_ad.images import write_image
from edge_ad.manifest import Manifest
from edge_ad.methods.engine_graph import EngineGraph
from edge_ad.methods.learning.parse import parse_settings
from edge_ad.methods.learning.trainer import load_training
from edge_ad.methods.method import load_method
from edge_ad.onnx_graph.index import load_graph

METHODS = ("destseg", "draem", "clflow", "ear", "pmb")
SIZE_HW = (128, 128)
IMAGES = 8
_INT8 = ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger")
_FLOAT = ("Conv", "FusedConv", "ConvTranspose", "MatMul", "FusedMatMul", "Gemm")


def write_untrained(name: str, path: Path) -> None:
    """Write a method's edge preset with seeded weights and plausible statistics of its norms."""
    torch.manual_seed(0)
    settings = parse_settings(load_training(name), {}, "edge")
    method = load_method(name)
    network = method.build(settings.network, SIZE_HW).eval()
    spread_norms(network)
    score = method.score(settings.network, SIZE_HW)
    manifest = Manifest(method=name, size_hw=SIZE_HW, score=score)
    onnx.save(onnx_from_module(EngineGraph(network), manifest), path)


def write_int8(fp32: Path, int8: Path, folder: Path) -> None:
    """Write the int8 file that `edge-ad calibrate` would, with ranges of noise."""
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        image = rng.integers(0, 256, (*SIZE_HW, 3), np.uint8)
        write_image(folder / f"{number}.png", image)
    images = choose(sorted(folder.glob("*.png")), samples=IMAGES)
    onnx.save(by_edge_ad(load_graph(fp32), "onnxruntime", images), int8)


def processor_ms(files: dict[str, Path], runs: int) -> dict[str, list[float]]:
    """Return the processor time of every call; the files take turns."""
    batch = _batch()
    engines = {name: open_engine(path, EngineOptions(threads=1)) for name, path in files.items()}
    times: dict[str, list[float]] = {name: [] for name in engines}
    for run in range(runs + 3):
        for name, engine in engines.items():
            began = time.process_time()
            engine.infer(batch)
            if run >= 3:  # the first calls warm up
                times[name].append(1e3 * (time.process_time() - began))
    for engine in engines.values():
        engine.close()
    return times


def shares(layers: list[LayerCost]) -> dict[str, float]:
    """Return the shares of int8 products, float products and everything else in the time."""
    parts = {"int8": 0.0, "float": 0.0, "other": 0.0}
    for layer in layers:
        operator = layer.name.split()[0]
        kind = "int8" if operator in _INT8 else "float" if operator in _FLOAT else "other"
        parts[kind] += layer.seconds
    whole = sum(parts.values())
    return {kind: seconds / whole for kind, seconds in parts.items()}


def account(fp32_ms: float, int8_ms: float, fp32: list[LayerCost], int8: list[LayerCost]) -> Any:
    """Return what became faster by how much, and how fast int8 could be at most."""
    before, after = shares(fp32), shares(int8)
    kept = int8_ms * after["float"]
    quantized = fp32_ms * before["float"] - kept
    other = fp32_ms * before["other"]
    return {
        "fp32_ms": fp32_ms,
        "int8_ms": int8_ms,
        "times_faster": fp32_ms / int8_ms,
        "fp32_quantized_products_ms": quantized,
        "int8_products_ms": int8_ms * after["int8"],
        "products_times_faster": quantized / (int8_ms * after["int8"]),
        "float_products_ms": kept,
        "fp32_other_ms": other,
        "int8_other_ms": int8_ms * after["other"],
        "limit": fp32_ms / (quantized / 4 + kept + other),
        "limit_free": fp32_ms / (kept + other),
    }


def measure(name: str, runs: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the account of a method, and the raw samples with every layer."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = {"fp32": folder / "fp32.onnx", "int8": folder / "int8.onnx"}
        write_untrained(name, files["fp32"])
        write_int8(files["fp32"], files["int8"], folder)
        times = processor_ms(files, runs)
        layers = {kind: profile_layers(path, _batch(), threads=1) for kind, path in files.items()}
    metrics = account(median(times["fp32"]), median(times["int8"]), layers["fp32"], layers["int8"])
    rows = {
        kind: [(layer.name, round(1e3 * layer.seconds, 4)) for layer in found]
        for kind, found in layers.items()
    }
    return metrics, {"processor_ms": times, "layers_ms": rows}


def _batch() -> Any:
    return np.random.default_rng(1).integers(0, 256, (1, *SIZE_HW, 3), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--runs", type=int, default=60)
    options = parser.parse_args()
    for name in options.methods.split(","):
        metrics, samples = measure(name, options.runs)
        rounded = {key: round(value, 3) for key, value in metrics.items()}
        rounded["load_average"] = round(os.getloadavg()[0], 2)
        print(name, rounded)
        write_result("int8_layers", f"{name}-edge", "int8", metrics=rounded, samples=samples)


if __name__ == "__main__":
    main()
