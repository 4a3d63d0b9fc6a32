"""Run a line on an engine that costs nothing: memory, drops, and cameras that harm others.

    python benchmarks/soak_line.py [--frames 1000000] [--seconds 20]

The first part judges a million frames, with a store and evidence images, and reads the process's
memory, threads and open files every 50 000 frames; those after 200 000 are compared with the one
there. The second part runs eight cameras of 640x480 pixels at 30 frames/s. The third runs four,
then one of them dead, hanging, or ten times slower, and compares the others with a healthy line.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from results import write_result  # the script's own folder is on the path

from edge_ad.closeable import ClosedAtExit
from edge_ad.engine import Batcher, Prediction
from edge_ad.errors import SourceLost
from edge_ad.frame import Frame, Grab, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.line.alarm import Alarm, AlarmRule
from edge_ad.line.camera import Camera
from edge_ad.line.inspector import Inspector, Thresholds
from edge_ad.line.supervisor import Supervisor
from edge_ad.line.tally import Tally
from edge_ad.machine.other_work import OtherWork
from edge_ad.manifest import Manifest
from edge_ad.outlet.base import Outlets
from edge_ad.outlet.evidence import EvidenceFolder
from edge_ad.quantiles import percentiles_ms
from edge_ad.source import ScriptedSource, Source
from edge_ad.source.buffered import BufferedSource
from edge_ad.store.store import Store

READ_EVERY, WARM = 50_000, 200_000
REJECT_EVERY = 500  # frames; an event and an evidence image each
RATE = 30.0
_POOL = 8  # different frames


class FreeEngine(ClosedAtExit):
    """Predicts nothing from nothing: a score of 0, every so often of 1."""

    name = "free"
    manifest = Manifest(method="free", size_hw=(32, 32), batch=None)

    def __init__(self) -> None:
        self._calls = itertools.count(1)
        self._maps = np.zeros((8, 32, 32), np.float32)

    def infer(self, batch: Image) -> Prediction:
        scores = np.zeros(len(batch), np.float32)
        scores[0] = next(self._calls) % REJECT_EVERY == 0
        return Prediction(self._maps[: len(batch)], scores)

    def close(self) -> None:
        """Do nothing."""


def pool(height: int, width: int) -> list[Image]:
    """Return a few different frames."""
    rng = np.random.default_rng(0)
    return [rng.integers(20, 200, (height, width, 3), np.uint8) for _ in range(_POOL)]


def paced(name: str, images: list[Image], fps: float) -> Iterator[Grab]:
    """Yield frames as a camera of that rate does."""
    began = time.monotonic()
    for index in itertools.count():
        due = began + index / fps
        time.sleep(max(0.0, due - time.monotonic()))
        yield Frame(images[index % len(images)], index, time.monotonic(), name)


def hanging(name: str, images: list[Image]) -> Iterator[Grab]:
    """Yield one frame, and then never return."""
    yield Frame(images[0], 0, time.monotonic(), name)
    threading.Event().wait()


def gone(name: str, images: list[Image]) -> Iterator[Grab]:
    """Yield one frame, and then be lost."""
    yield Frame(images[0], 0, time.monotonic(), name)
    raise SourceLost(f"{name}: unplugged.")


def opened(name: str, grabs: Callable[[], Iterator[Grab]]) -> Source:
    """Return a live source as `open_source` makes them."""
    return BufferedSource(name, grabs, live=True, timeout_s=2.0, open_within_s=5.0)


def refused(name: str) -> Source:
    raise SourceLost(f"{name}: still unplugged.")


def line_of(sources: list[tuple[Source, Callable[[], Source]]], frames: int = 0) -> Supervisor:
    """Return a line on one free engine."""
    batcher = Batcher(FreeEngine())
    ids = map(str, itertools.count())
    cameras = []
    for source, reopen in sources:
        inspector = Inspector(
            batcher.client() if len(sources) > 1 else batcher.engine,
            Thresholds(0.5, 0.5),
            FrameGate(live=source.live),
            camera=source.name,
        )
        alarm = Alarm(AlarmRule(k=1), ids.__next__)
        cameras.append(Camera(source, reopen, inspector, alarm, Tally(frame_limit=frames)))
    return Supervisor(cameras, Outlets([]))


def soak(frames: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Judge frames at once and return what the process held, and the samples."""
    images = pool(64, 64)
    grabs = (Frame(images[n % _POOL], n, 0.0, "soak") for n in range(frames))
    source = ScriptedSource(grabs, name="soak")
    samples: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        line = line_of([(source, partial(refused, "soak"))])
        store = Store(Path(folder))
        line.outlets.add(EvidenceFolder(Path(folder) / "evidence", max_count=200))
        line.use_store(store)
        began = time.monotonic()
        line.start()
        tally = line.cameras[0].tally
        for due in range(READ_EVERY, frames + 1, READ_EVERY):
            while tally.frames < due and not line.wait(0.02):
                pass
            samples.append({"frames": tally.frames, "s": time.monotonic() - began} | held())
        line.finish()
        line.raise_errors()
        metrics = {
            "frames": tally.frames,
            "rejected": tally.rejected,
            "lost_events": store.lost,
            "us_a_frame": round(samples[-1]["s"] / tally.frames * 1e6, 1),
        }
    return metrics | growth(samples, min(WARM, frames)), {"soak": samples}


def growth(samples: list[dict[str, float]], warm_frames: int) -> dict[str, float]:
    """Return what the process held once it was warm, and how much more later."""
    later = [sample for sample in samples if sample["frames"] >= warm_frames]
    warm, last = later[0], later[-1]
    return {
        "warm_mib": round(warm["mib"], 1),
        "growth_mib": round(max(sample["mib"] for sample in later) - warm["mib"], 1),
        "growth_threads": last["threads"] - warm["threads"],
        "growth_files": last["files"] - warm["files"],
    }


def held() -> dict[str, float]:
    """Return the process's resident MiB, threads and open files."""
    status = Path("/proc/self/status").read_text()
    (kib,) = re.findall(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)
    return {
        "mib": int(kib) / 1024,
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
    }


def healthy(name: str, images: list[Image], fps: float = RATE) -> tuple[Source, Any]:
    """Return a camera that delivers."""
    opener = partial(opened, name, partial(paced, name, images, fps))
    return opener(), opener


def run_for(seconds: float, sources: list[tuple[Source, Any]]) -> list[dict[str, Any]]:
    """Run a line and return rate, drops and latency of each camera."""
    line = line_of(sources)
    line.start()
    line.wait(seconds)
    began = [camera.tally.judged for camera in line.cameras]
    dropped = [camera.dropped for camera in line.cameras]
    since = time.monotonic()
    line.wait(seconds)
    elapsed_s = time.monotonic() - since
    results = [
        {
            "fps": (camera.tally.judged - before) / elapsed_s,
            "dropped": camera.dropped - earlier,
            "latency_ms": percentiles_ms(camera.tally.latency_s),
        }
        for camera, before, earlier in zip(line.cameras, began, dropped, strict=True)
    ]
    line.finish()
    return results


def eight(seconds: float) -> dict[str, Any]:
    """Run eight cameras and return their drops and rates."""
    images = pool(480, 640)
    results = run_for(seconds / 2, [healthy(f"camera {n}", images) for n in range(8)])
    return {
        "cameras": len(results),
        "frames_s": round(sum(result["fps"] for result in results), 1),
        "dropped": sum(result["dropped"] for result in results),
        "p99_ms": max(result["latency_ms"]["p99"] for result in results),
    }


def others(seconds: float) -> dict[str, Any]:
    """Return the rate of three cameras beside each kind of bad one, over that beside a good one."""
    images = pool(480, 640)
    bad: dict[str, Callable[[], tuple[Source, Any]]] = {
        "healthy": lambda: healthy("fourth", images),
        "dead": lambda: (opened("fourth", partial(gone, "fourth", images)),
                         partial(refused, "fourth")),
        "hanging": lambda: (opened("fourth", partial(hanging, "fourth", images)),
                            partial(refused, "fourth")),
        "slow": lambda: healthy("fourth", images, RATE / 10),
    }  # fmt: skip
    figures: dict[str, Any] = {}
    for kind, make in bad.items():
        sources = [healthy(f"camera {n}", images) for n in range(3)]
        results = run_for(seconds / 2, [*sources, make()])[:3]
        figures[f"{kind}_fps"] = round(min(result["fps"] for result in results), 2)
        figures[f"{kind}_p99_ms"] = max(result["latency_ms"]["p99"] for result in results)
        figures[f"{kind}_rate"] = round(figures[f"{kind}_fps"] / figures["healthy_fps"], 3)
    del figures["healthy_rate"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", choices=["soak", "eight", "others"])
    options = parser.parse_args()
    parts: dict[str, Callable[[], Any]] = {
        "soak": lambda: soak(options.frames),
        "eight": lambda: (eight(options.seconds), {}),
        "others": lambda: (others(options.seconds), {}),
    }
    for name, run in parts.items():
        if options.only in (None, name):
            load = OtherWork()
            metrics, samples = run()
            settings = {"cores_busy_with_others": round(load.cores() or 0.0, 2)}
            path = write_result(
                "line", name, "fp32", metrics=metrics, settings=settings, samples=samples
            )
            print(path.name, metrics, flush=True)


if __name__ == "__main__":
    main()
