"""Measure what a frame costs beside what the line has behind it: events, evidence images, time.

    python benchmarks/bench_history.py [--rounds 7] [--frames 10000]

On an engine that costs nothing, with store and evidence folder, one frame in 500 rejected. Folders
with different pasts take turns; figures are processor time of all threads, store and evidence
included, which a busy machine changes little, and ratios are taken round by round. `late` is a line
that has run for 200 000 frames, beside its own first ones.

All threads have one core. On a second one, if it is idle, they wake each other four times a frame,
which takes as much of the processor's time as all the rest and hides what a past costs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from results import write_result  # the script's own folder is on the path
from soak_line import line_of, pool, refused
from soak_store import event, store_queue

from edge_ad.frame import Frame
from edge_ad.images import write_image
from edge_ad.outlet.evidence import EvidenceFolder
from edge_ad.source import ScriptedSource
from edge_ad.store.event import evidence_name
from edge_ad.store.store import Store

# name -> past events, evidence images
PASTS = {
    "new": (0, 0),
    "1 000 events": (1_000, 0),
    "100 000 events": (100_000, 0),
    "2 000 images": (2_000, 2_000),
}
LATE = 200_000
_SIDE = 64


def prepare(folder: Path, events: int, images: int) -> None:
    """Give a line's folder a past."""
    folder.mkdir()
    with Store(folder) as store:
        for part in range(events):
            while len(store_queue(store)) > 5_000:
                time.sleep(0.001)
            store.record(event(part))
    noise = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
    for part in range(images):
        write_image(folder / evidence_name(part), noise)


class Run:
    """A line on a folder, judging frames as fast as it can."""

    def __init__(self, folder: Path, frames: int) -> None:
        images = pool(_SIDE, _SIDE)
        grabs = (Frame(images[n % len(images)], n, 0.0, "line") for n in range(frames))
        began = time.process_time()
        self.line = line_of(
            [(ScriptedSource(grabs, name="line"), partial(refused, "line"))], frames
        )
        store = Store(folder)
        self.line.outlets.add(EvidenceFolder(folder / "evidence", max_count=2_000))
        self.line.use_store(store)
        self.opened_ms = 1e3 * (time.process_time() - began)

    def finish(self, marks: tuple[int, ...]) -> list[float]:
        """Run to the end, and return microseconds a frame between the marks, in frames."""
        tally = self.line.cameras[0].tally
        readings = [(0, time.process_time())]
        self.line.start()
        for due in marks:
            while tally.frames < due and not self.line.wait(0.005):
                pass
            readings.append((tally.frames, time.process_time()))
        self.line.finish()
        self.line.raise_errors()
        pairs = itertools.pairwise(readings)
        return [1e6 * (b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs]


def measure_pasts(rounds: int, frames: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a frame and the opening cost for each past, and the samples."""
    costs: dict[str, list[float]] = {name: [] for name in PASTS}
    opened: dict[str, list[float]] = {name: [] for name in PASTS}
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place) / name.replace(" ", "_") for name in PASTS}
        for name, (events, images) in PASTS.items():
            prepare(folders[name], events, images)
        for number in range(rounds + 1):
            for name, folder in folders.items():
                run = Run(folder, frames)
                (cost,) = run.finish((frames,))
                if number:  # the first round warms up
                    costs[name].append(cost)
                    opened[name].append(run.opened_ms)
    metrics: dict[str, Any] = {}
    for name, samples in costs.items():
        ratios = [cost / new for cost, new in zip(samples, costs["new"], strict=True)]
        metrics[f"us a frame {name}"] = round(median(samples), 1)
        metrics[f"over new {name}"] = round(median(ratios), 3)
        metrics[f"opening ms {name}"] = round(median(opened[name]), 1)
    return metrics, {"us_a_frame": costs, "opening_ms": opened}


def measure_late(frames: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a frame costs a line that has run for long, beside its own beginning."""
    marks = tuple(range(frames, LATE + 1, frames))
    with tempfile.TemporaryDirectory() as place:
        costs = Run(Path(place), LATE).finish(marks)
    fifth = max(1, len(costs) // 5)
    early, late = median(costs[1 : fifth + 1]), median(costs[-fifth:])
    return {"us a frame late": round(late, 1), "over early late": round(late / early, 3)}, {
        "late_us_a_frame": costs
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=10_000)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    metrics, samples = measure_pasts(options.rounds, options.frames)
    late, late_samples = measure_late(options.frames)
    metrics |= late | {"load average": round(os.getloadavg()[0], 2)}
    print(metrics)
    settings = {"frames": options.frames, "rounds": options.rounds}
    samples |= late_samples
    print(
        write_result("history", "line", "all", metrics=metrics, settings=settings, samples=samples)
    )


if __name__ == "__main__":
    main()
