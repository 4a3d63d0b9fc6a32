"""Measure what a line costs beside its engine: a camera of 1920x1080 pixels on one core.

    python benchmarks/bench_overhead.py [--seconds 30]

The engine costs nothing, or is the shipped one on the same core, whose calls do not count;
everything else is a line's own: checks of the frame, scaling, verdict, part number, statistics,
drift, and a store. Frames come at 30 a second, each copied just before, as
a driver does; a grey camera's have one plane. A time runs from handing over a frame to the next
request for one. `gate` and `scaling` are parts of it; the rest is verdict and records.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import cv2
import numpy as np
from results import write_result  # the script's own folder is on the path
from soak_line import FreeEngine, line_of, pool, refused

from edge_ad.engine import EngineOptions, open_engine
from edge_ad.engine.base import Prediction
from edge_ad.frame import Frame, Grab, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.images import to_bgr8
from edge_ad.manifest import Manifest
from edge_ad.preprocess import Preprocess
from edge_ad.quantiles import percentiles_ms
from edge_ad.source import ScriptedSource
from edge_ad.store.store import Store

ENGINE = Path(__file__).resolve().parent.parent / "edge_ad" / "sample" / "engine.onnx"
RATE, WARM = 30.0, 30  # frames a second, and not counted
CASES = (
    ("1080p", (128, 176)),
    ("1080p", (256, 256)),
    ("1080p grey", (128, 176)),
    ("1080p beside the sample engine", (128, 176)),
    ("1080p grey beside the sample engine", (128, 176)),
)
Value = TypeVar("Value")


def frames(camera: str, seconds: float, times: list[float]) -> Iterator[Grab]:
    """Yield frames at the camera's rate, and note how long each one keeps the line busy."""
    images = [image[:, :, 0].copy() if "grey" in camera else image for image in pool(1080, 1920)]
    began = time.monotonic()
    for index in range(round(seconds * RATE)):
        time.sleep(max(0.0, began + index / RATE - time.monotonic()))
        image = to_bgr8(images[index % len(images)].copy(), "camera")
        frame = Frame(image, index, time.monotonic(), "camera")
        handed_over = time.perf_counter()
        yield frame
        times.append(time.perf_counter() - handed_over)


def timed(method: Callable[..., Value], times: list[float]) -> Callable[..., Value]:
    """Return a method that notes how long its calls take."""

    def call(*arguments: Any) -> Value:
        began = time.perf_counter()
        try:
            return method(*arguments)
        finally:
            times.append(time.perf_counter() - began)

    return call


def overhead(camera: str, size_hw: tuple[int, int], seconds: float) -> dict[str, list[float]]:
    """Return seconds for each frame: of all, and of the gate and the scaling in it."""
    times: dict[str, list[float]] = {"all": [], "gate": [], "scaling": [], "engine": []}
    manifest = Manifest(method="free", size_hw=size_hw, batch=None)
    with (
        tempfile.TemporaryDirectory() as folder,
        beside_the_sample() if "sample" in camera else nullcontext(),
        mock.patch.object(FreeEngine, "manifest", manifest),
        mock.patch.object(FreeEngine, "infer", timed(FreeEngine.infer, times["engine"])),
        mock.patch.object(FrameGate, "fault", timed(FrameGate.fault, times["gate"])),
        mock.patch.object(Preprocess, "__call__", timed(Preprocess.__call__, times["scaling"])),
    ):
        source = ScriptedSource(frames(camera, seconds, times["all"]), name="camera")
        line = line_of([(source, partial(refused, "camera"))])
        line.cameras[0].inspector._gate.live = True  # with its checks of live frames
        line.use_store(Store(Path(folder)))
        line.start()
        line.wait(seconds + 60)
        line.finish()
        line.raise_errors()
    engine = times.pop("engine")
    times["all"] = [whole - call for whole, call in zip(times["all"], engine, strict=True)]
    return {part: values[WARM:] for part, values in times.items()}


@contextmanager
def beside_the_sample() -> Iterator[None]:
    """Let the free engine compute what the shipped one does, and reject nothing."""
    with open_engine(ENGINE, EngineOptions(threads=1)) as engine:

        def infer(_: FreeEngine, batch: Image) -> Prediction:
            return Prediction(engine.infer(batch).maps, np.zeros(len(batch), np.float32))

        with mock.patch.object(FreeEngine, "infer", infer):
            yield


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    seconds = parser.parse_args().seconds
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    cv2.setNumThreads(1)
    for camera, size_hw in CASES:
        times = overhead(camera, size_hw, seconds)
        metrics: dict[str, Any] = {}
        for part, name in itertools.product(times, ("p50", "p99")):
            values = percentiles_ms(times[part])
            assert values is not None
            metrics[f"{part}_{name}_ms"] = values[name]
        name = f"{camera} to {size_hw[1]}x{size_hw[0]}"
        print(name, metrics)
        settings = {"seconds": seconds, "fps": RATE}
        write_result("overhead", name, "all", metrics=metrics, settings=settings, samples=times)


if __name__ == "__main__":
    main()
