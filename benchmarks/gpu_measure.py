"""Measure an engine on a GPU: calls, GPU time, overlapped calls, and the whole loop."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.bench.loop import bench_loop
from edge_ad.bench.percentiles import describe_times
from edge_ad.engine import EngineOptions, open_engine
from edge_ad.engine.tensorrt.plan import TensorRTEngine, open_plan
from edge_ad.export.comparison_frames import generated_frames
from edge_ad.export.verification import predict, tolerance_between, verify
from edge_ad.frame import Image
from edge_ad.line.config import LineConfig
from edge_ad.manifest import Manifest

WARM_UP = 200
IMAGES = 300


@dataclass(frozen=True)
class Calls:
    """Milliseconds of each call, and the GPU time of the network within it."""

    call_ms: NDArray[np.float64]
    gpu_ms: NDArray[np.float64]

    def figures(self) -> dict[str, float]:
        """Return the percentiles of calls, GPU times and the difference."""
        return {
            **percentiles("call", self.call_ms),
            **percentiles("gpu", self.gpu_ms),
            **percentiles("beyond_gpu", self.call_ms - self.gpu_ms),
        }


def percentiles(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """Return the percentiles as `{name}_p50_ms` and so on."""
    points = np.percentile(values, [50, 95, 99, 100])
    names = ("p50", "p95", "p99", "max")
    return {
        f"{name}_{at}_ms": round(float(value), 4) for at, value in zip(names, points, strict=True)
    }


def images_of(manifest: Manifest) -> Image:
    """Return one batch of the engine's size."""
    return generated_frames(manifest.size_hw, manifest.batch or 1, seed=1)


def time_calls(engine: TensorRTEngine, count: int) -> Calls:
    """Time `infer`, one call after the other."""
    images = images_of(engine.manifest)
    for _ in range(WARM_UP):
        engine.infer(images)
    calls, gpu = np.empty(count), np.empty(count)
    for index in range(count):
        began = time.perf_counter()
        engine.infer(images)
        calls[index] = (time.perf_counter() - began) * 1e3
        gpu[index] = engine.gpu_times.compute_ms
    return Calls(calls, gpu)


def overlapped_fps(engine: TensorRTEngine, count: int) -> float:
    """Return the calls a second with two batches in flight."""
    images = images_of(engine.manifest)
    engine.submit(images)
    began = time.perf_counter()
    for _ in range(count):
        engine.submit(images)
        engine.collect()
    elapsed_s = time.perf_counter() - began
    engine.collect()
    return count / elapsed_s


def measure_plan(plan: Path, count: int) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Return figures with and without CUDA graph and overlap, and the raw samples."""
    figures: dict[str, Any] = {}
    samples: dict[str, list[float]] = {}
    for name, graph in (("replayed", True), ("launched", False)):
        with open_plan(plan, EngineOptions(cuda_graph=graph)) as engine:
            calls = time_calls(engine, count)
            figures[name] = {
                "graph": engine.graph,
                **calls.figures(),
                "fps": round(1e3 / float(calls.call_ms.mean()), 2),
                "overlapped_fps": round(overlapped_fps(engine, count), 2),
            }
            samples[f"{name}_call_ms"] = calls.call_ms.round(4).tolist()
            samples[f"{name}_gpu_ms"] = calls.gpu_ms.round(4).tolist()
    return figures, samples


def measure_loop(plan: Path, footage: Path) -> dict[str, Any]:
    """Measure the loop and the engine alone alternately, on the same images."""
    config = LineConfig((str(footage),), plan, threshold=sys.float_info.max)
    (camera,) = config.resolve()
    with camera.open_engine() as engine:
        result = bench_loop(engine, config, rounds=5)
    return {
        "loop_ratio": round(result.ratio, 4),
        "loop_fps": round(result.loop_fps, 2),
        "engine_fps": round(result.engine_fps, 2),
        "loop_latency_ms": describe_times(result.latency_s),
    }


def parity(plan: Path, onnx: Path) -> dict[str, Any]:
    """Compare the plan with ONNX Runtime on the CPU, on generated frames."""
    with open_engine(onnx) as reference, open_plan(plan) as engine:
        frames = generated_frames(reference.manifest.size_hw, 8)
        tolerance = tolerance_between(reference.manifest, engine.manifest)
        return verify(
            predict(reference, frames), predict(engine, frames), tolerance, None
        ).as_json()


def write_images(folder: Path, size_wh: tuple[int, int] = (320, 240)) -> Path:
    """Write images that decode quickly, for machines without the footage."""
    width, height = size_wh
    for index, image in enumerate(generated_frames((height, width), IMAGES, seed=2)):
        cv2.imwrite(str(folder / f"{index:04d}.bmp"), image)
    return folder


def measure_torch(network: Any, images: Image, count: int) -> dict[str, Any]:
    """Measure torch on the same GPU, fp16 by autocast, with uploads and downloads."""
    import torch

    network = network.eval().cuda()

    def call(run: Callable[..., Any]) -> None:
        with torch.inference_mode(), torch.autocast("cuda", dtype=torch.float16):
            maps, scores = run(torch.from_numpy(images).cuda(non_blocking=True))
            maps.cpu(), scores.cpu()

    times: dict[str, Any] = {}
    for name, make in (("eager", lambda: network), ("compiled", lambda: torch.compile(network))):
        try:
            times[name] = percentiles("call", _timed(partial(call, make()), count))
        except Exception as error:  # a missing compiler must not fail the whole run
            times[name] = {"error": f"{type(error).__name__}: {str(error).strip()[:300]}"}
    return times


def _timed(call: Callable[[], None], count: int) -> NDArray[np.float64]:
    """Return the milliseconds of each call, after a warm-up."""
    for _ in range(max(1, WARM_UP // 4)):
        call()
    times = np.empty(count)
    for index in range(count):
        began = time.perf_counter()
        call()
        times[index] = (time.perf_counter() - began) * 1e3
    return times
