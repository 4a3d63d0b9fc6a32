"""Measure what people who look at the operator's page cost a line.

    python benchmarks/bench_viewers.py [--cameras 8] [--tabs 3] [--pairs 12] [--plain]
    python benchmarks/bench_viewers.py --model sample --fps 2 --turn-s 94 --pairs 3

The 99th percentile of the time to a verdict, in turns without anybody who looks and with tabs open,
each drawing as fast as it may. The page gives way to the line by itself, as always. Tabs are on
other computers; here they get what line and page leave (SCHED_IDLE). With `--plain` the line gives
up a priority that the script was started with: then it has what a line has by default.

On a shared machine: sudo chrt -f 10 python benchmarks/bench_viewers.py
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import numpy as np
from bench_live import ROOT, controlled, running_page  # the script's own folder is on the path
from results import write_result

from edge_ad.engine import Batcher, EngineOptions, open_engine
from edge_ad.frame import Frame, Grab, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.inspection import Inspection
from edge_ad.line.alarm import Alarm, AlarmRule
from edge_ad.line.camera import Camera
from edge_ad.line.inspector import Inspector, Thresholds
from edge_ad.line.supervisor import Supervisor
from edge_ad.line.tally import Tally
from edge_ad.outlet.base import Evidence, Outlet, Outlets
from edge_ad.source.buffered import BufferedSource
from edge_ad.synthetic_line import SyntheticLine, SyntheticLineSpec

ENGINES = {
    "green": ROOT / "tests" / "engines" / "green-32-b1.onnx",  # next to nothing: the line alone
    "sample": ROOT / "edge_ad" / "sample" / "engine.onnx",
}
_SIZE_WH, _FRAMES = (1280, 960), 24  # of a camera
_SETTLE_S = 3.0
_TAIL = 60  # raw times kept of each turn, the longest: from them every 99th percentile follows


class Latencies(Outlet):
    """Notes how long each verdict took, and when."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        self.times.append((time.monotonic(), inspection.latency_s * 1e3))

    def between(self, begin: float, end: float) -> list[float]:
        return [latency for at, latency in self.times if begin <= at < end]


@contextlib.contextmanager
def measured_line(folder: Path, model: str, cameras: int, fps: float) -> Iterator[Latencies]:
    """Run a line of cameras whose frames are drawn before: a camera's cost no processor time.

    The cameras are not in step, and nothing is rejected.
    """
    drawn = SyntheticLine(SyntheticLineSpec(0, _SIZE_WH, 0.25))
    images = [drawn.frame_at(index).image for index in range(_FRAMES)]
    latencies = Latencies()
    with open_engine(ENGINES[model], EngineOptions(threads=1)) as engine:
        batcher = Batcher(engine)
        each = [
            camera(f"c{number}", number / cameras / fps, fps, images, batcher)
            for number in range(cameras)
        ]
        with controlled(Supervisor(each, Outlets([latencies])), folder):
            yield latencies


def camera(name: str, later_s: float, fps: float, images: list[Image], batcher: Batcher) -> Camera:
    """Return a camera that begins somewhat later."""

    def grabs() -> Iterator[Grab]:
        began = time.monotonic() + later_s
        for index in itertools.count():
            time.sleep(max(0.0, began + index / fps - time.monotonic()))
            yield Frame(images[index % len(images)], index, time.monotonic(), name)

    def opened() -> BufferedSource:
        return BufferedSource(name, grabs, live=True, timeout_s=2.0, open_within_s=5.0)

    thresholds = Thresholds(1e9, 1e9)
    inspector = Inspector(batcher.client(), thresholds, FrameGate(live=True), camera=name)
    alarm = Alarm(AlarmRule(), lambda: name)
    return Camera(opened(), opened, inspector, alarm, Tally(), name)


async def look(url: str, seconds: float) -> int:
    """Be a tab for some time and return how many messages it drew."""
    messages, until = 0, time.monotonic() + seconds
    async with aiohttp.ClientSession(headers={"Origin": url.rstrip("/")}) as session:
        async with session.ws_connect(f"{url}live/feed") as socket:
            while time.monotonic() < until:
                await socket.send_str("next")
                await socket.receive_bytes()
                messages += 1
    return messages


def tabs(url: str, count: int, seconds: float) -> subprocess.Popen[str]:
    """Start a process with tabs, which prints how many messages they drew."""
    command = [sys.executable, __file__, "--look", url, "--tabs", str(count)]
    return subprocess.Popen(
        [*command, "--seconds", str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(schedule, os.SCHED_IDLE),
    )


def schedule(policy: int) -> None:
    """Give this process a policy without real time."""
    os.sched_setscheduler(0, policy, os.sched_param(0))


def cpu_s(pid: int) -> float:
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def turn(
    latencies: Latencies, seconds: float, processes: dict[str, int]
) -> tuple[list[float], dict[str, float]]:
    """Return the times to a verdict in one turn, and the share of a core that processes took."""
    begin, before = time.monotonic(), {name: cpu_s(pid) for name, pid in processes.items()}
    time.sleep(seconds)
    end = time.monotonic()
    shares = {
        name: round((cpu_s(pid) - before[name]) / (end - begin), 4)
        for name, pid in processes.items()
    }
    return latencies.between(begin, end), shares


@dataclass
class Turns:
    """What turns of one kind measured, in their order; `drawn` are messages of all tabs."""

    latencies_ms: list[list[float]] = field(default_factory=list)
    shares: list[dict[str, float]] = field(default_factory=list)
    drawn: list[int] = field(default_factory=list)

    def metrics(self) -> dict[str, float]:
        """Return percentiles over all turns, and the typical share of a core of each process."""
        pooled = percentiles(list(itertools.chain.from_iterable(self.latencies_ms)))
        for process in self.shares[0]:
            typical = median(each[process] for each in self.shares)
            pooled[f"{process}_core_share"] = round(typical, 4)
        return pooled

    def samples(self) -> dict[str, Any]:
        """Return percentiles and the longest times of each turn."""
        return {
            "turns": [percentiles(values) for values in self.latencies_ms],
            "longest_ms": [
                [round(value, 2) for value in sorted(values)[-_TAIL:]]
                for values in self.latencies_ms
            ],
        }


def measure_line(options: argparse.Namespace) -> dict[str, Turns]:
    """Return the turns without tabs and those with some."""
    kinds = {"alone": Turns(), "looked_at": Turns()}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        line = measured_line(folder, options.model, options.cameras, options.fps)
        latencies = stack.enter_context(line)
        url, page = stack.enter_context(running_page(folder))
        time.sleep(2 * _SETTLE_S)
        for _ in range(options.pairs):
            for kind, turns in kinds.items():
                processes = {"line": os.getpid(), "page": page.pid}
                viewers = None
                if kind == "looked_at":
                    viewers = tabs(url, options.tabs, options.turn_s + 2 * _SETTLE_S)
                    processes["tabs"] = viewers.pid
                time.sleep(_SETTLE_S)
                took, share = turn(latencies, options.turn_s, processes)
                turns.latencies_ms.append(took)
                turns.shares.append(share)
                if viewers is not None:
                    turns.drawn.append(int(viewers.communicate()[0]))
                print(kind, percentiles(took), share, flush=True)
    return kinds


def write_turns(kinds: dict[str, Turns], options: argparse.Namespace) -> Path:
    """Write what the turns measured, and return the file."""
    alone, looked_at = kinds["alone"], kinds["looked_at"]
    a_tab = median(looked_at.drawn) / options.tabs / (options.turn_s + 2 * _SETTLE_S)
    metrics: dict[str, float] = {}
    samples: dict[str, Any] = {"core_shares": {name: each.shares for name, each in kinds.items()}}
    for name, turns in kinds.items():
        metrics |= {f"{name}_{key}": value for key, value in turns.metrics().items()}
        samples |= {f"{name}_{key}": values for key, values in turns.samples().items()}
    metrics |= p99_ratio(alone.latencies_ms, looked_at.latencies_ms)
    metrics |= {
        "messages_a_tab_and_s": round(a_tab, 2),
        "load_average": round(os.getloadavg()[0], 1),
    }
    keys = ("cameras", "fps", "tabs", "turn_s", "pairs", "plain")
    settings = {key: getattr(options, key) for key in keys} | {"size_wh": list(_SIZE_WH)}
    model = f"{options.model} plain" if options.plain else options.model
    return write_result("live", model, "fp32", metrics=metrics, settings=settings, samples=samples)


def p99_ratio(alone: list[list[float]], looked_at: list[list[float]]) -> dict[str, float]:
    """Return the ratio of all turns' 99th percentiles, with a 95 % interval over the pairs."""

    def ratio(pairs: Sequence[int]) -> float:
        first, second = (
            np.percentile(np.concatenate([turns[pair] for pair in pairs]), 99)
            for turns in (alone, looked_at)
        )
        return float(second / first)

    rng, count = np.random.default_rng(0), len(alone)
    low, high = np.percentile(
        [ratio(rng.integers(0, count, count).tolist()) for _ in range(1000)], [2.5, 97.5]
    )
    return {
        "p99_ratio": round(ratio(range(count)), 4),
        "p99_ratio_low": round(float(low), 4),
        "p99_ratio_high": round(float(high), 4),
    }


def percentiles(values: list[float]) -> dict[str, float]:
    """Return p50 and p99 of times, and how many there are."""
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3), "frames": len(values)}


async def look_all(url: str, count: int, seconds: float) -> int:
    """Be several tabs and return how many messages they drew together."""
    return sum(await asyncio.gather(*(look(url, seconds) for _ in range(count))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--tabs", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--model", choices=sorted(ENGINES), default="green")
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--turn-s", type=float, default=20.0)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--look", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=10.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look:
        print(asyncio.run(look_all(options.look, options.tabs, options.seconds)))
        return
    if options.plain:
        schedule(os.SCHED_OTHER)
    print(write_turns(measure_line(options), options))


if __name__ == "__main__":
    main()
