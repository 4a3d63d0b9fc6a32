"""Measure what the operator's page costs a line, and what it costs a browser.

    python benchmarks/bench_live.py [line] [browser] [stop] [--cameras 8] [--tabs 3] [--pairs 10]

- line: the 99th percentile of the time to a verdict, in turns without anybody who looks and with
  tabs open, each drawing as fast as it may. Page and tabs are processes of the same computer; with
  chrt the line alone has its priority, as tabs are on other computers.
- browser: a tab in Chromium: first paint, bytes without frames, and the heap after an hour's worth
  of messages, sent as fast as the tab takes them.
- stop: how long the page takes to end with tabs that neither ask nor close.

On a shared machine: sudo chrt -f 10 python benchmarks/bench_live.py line
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import numpy as np
from results import write_result  # the script's own folder is on the path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for the browser of the tests

from edge_ad.control.line_control import LineControl  # noqa: E402
from edge_ad.inspection import Inspection  # noqa: E402
from edge_ad.line.config import LineConfig  # noqa: E402
from edge_ad.line.open import open_line  # noqa: E402
from edge_ad.outlet.base import Evidence, Outlet  # noqa: E402
from edge_ad.store.store import Store  # noqa: E402
from tests.page.browser import Browser, running_browser  # noqa: E402

ENGINE = ROOT / "tests" / "engines" / "green-32-b1.onnx"
_FPS, _TURN_S, _SETTLE_S = 2, 10.0, 1.5
_THRESHOLD = 2.0


class Latencies(Outlet):
    """Notes how long each verdict took, and when."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        self.times.append((time.monotonic(), inspection.latency_s * 1e3))

    def between(self, begin: float, end: float) -> list[float]:
        return [latency for at, latency in self.times if begin <= at < end]


@contextlib.contextmanager
def running_line(folder: Path, cameras: int) -> Iterator[Latencies]:
    """Run a line of cameras of 320 x 240 pixels, which a synthetic line draws."""
    names = [f"c{number}=pattern://?seed={number}&fps={_FPS}" for number in range(cameras)]
    latencies = Latencies()
    config = LineConfig(tuple(names), ENGINE, threshold=_THRESHOLD)
    with open_line(config, [latencies]) as line:
        store = Store(folder)
        line.use_store(store)
        control = LineControl(line, store)
        line.start()
        control.start()
        try:
            yield latencies
        finally:
            control.close()
            line.finish()


@contextlib.contextmanager
def running_page(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `edge-ad page`, and yield its address and process."""
    command = [sys.executable, "-m", "edge_ad", "page", str(folder), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=give_way
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split('"url": "')[1].split('"')[0], process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


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
        preexec_fn=give_way,
    )


def give_way() -> None:
    """Leave the priority that the line may have; the page lowers its own further."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def measure_line(cameras: int, count: int, pairs: int) -> None:
    """Write the percentiles of turns without and with tabs."""
    turns: dict[str, list[list[float]]] = {"alone": [], "looked_at": []}
    shares: dict[str, list[float]] = {turn: [] for turn in turns}  # of a core, by the line
    drawn = []
    with tempfile.TemporaryDirectory() as name, running_line(Path(name), cameras) as latencies:
        with running_page(Path(name)) as (url, _):
            time.sleep(3 * _SETTLE_S)
            for _ in range(pairs):
                for turn, values in turns.items():
                    viewers = tabs(url, count, _TURN_S + 4) if turn == "looked_at" else None
                    time.sleep(_SETTLE_S + 2 * (viewers is not None))
                    begin, cpu_s = time.monotonic(), time.process_time()
                    time.sleep(_TURN_S - _SETTLE_S)
                    seconds = time.monotonic() - begin
                    shares[turn].append(round((time.process_time() - cpu_s) / seconds, 4))
                    values.append(latencies.between(begin, time.monotonic()))
                    if viewers is not None:
                        drawn.append(int(viewers.communicate()[0]))
                    print(turn, percentiles(values[-1]), flush=True)
    # on a shared machine one turn may have a neighbour's burst: medians of turns, and of pairs
    ratios = [
        percentiles(looked)["p99_ms"] / percentiles(alone)["p99_ms"]
        for alone, looked in zip(turns["alone"], turns["looked_at"], strict=True)
    ]
    whole = {
        turn: percentiles([value for each in values for value in each])
        for turn, values in turns.items()
    }
    metrics = {
        f"{turn}_{key}": value for turn, values in whole.items() for key, value in values.items()
    }
    metrics |= {f"{turn}_core_share": round(median(each), 4) for turn, each in shares.items()}
    metrics |= {
        "load_average": round(os.getloadavg()[0], 1),
        "p99_ratio_median_of_pairs": round(median(ratios), 4),
        "messages_a_tab_and_s": round(median(drawn) / count / (_TURN_S + 4), 2),
    }
    settings = {"cameras": cameras, "fps": _FPS, "tabs": count, "turn_s": _TURN_S, "pairs": pairs}
    rounded: dict[str, Any] = {"core_share": shares}
    rounded |= {
        turn: [[round(value, 2) for value in values] for values in lists]
        for turn, lists in turns.items()
    }
    print(
        write_result("live", "green", "fp32", metrics=metrics, settings=settings, samples=rounded)
    )


def percentiles(values: list[float]) -> dict[str, float]:
    """Return p50 and p99 of times, and how many there are."""
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3), "frames": len(values)}


def measure_browser(cameras: int) -> None:
    """Write first paint, bytes and heap of a tab in Chromium."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running_line(folder, cameras))
        url, _ = stack.enter_context(running_page(folder))
        browser = stack.enter_context(running_browser(folder / "driver.log"))
        browser.size(1600, 900)
        browser.open(url)  # starts what a first visit starts
        visits = [visit(browser, url) for _ in range(7)]
        heaps = [heap(browser, 100) for _ in range(10)]
    metrics = {
        "first_paint_ms": round(median(each["paint_ms"] for each in visits), 1),
        "weight_kib": round(visits[0]["bytes"] / 1024, 1),
        "heap_mib_after_100": heaps[0],
        "heap_mib_after_1000": heaps[-1],
    }
    samples = {"visits": visits, "heap_mib": heaps}
    settings = {"cameras": cameras, "fps": _FPS}
    print(
        write_result(
            "live_tab", "green", "fp32", metrics=metrics, settings=settings, samples=samples
        )
    )


def visit(browser: Browser, url: str) -> dict[str, Any]:
    """Load the page with an empty cache; return first contentful paint and bytes."""
    browser.devtools("Network.clearBrowserCache")
    browser.open(url)
    browser.wait("performance.getEntriesByName('first-contentful-paint').length")
    return dict(
        browser.run(
            """
            const entries = [...performance.getEntriesByType('navigation'),
                             ...performance.getEntriesByType('resource')];
            return {
              paint_ms: performance.getEntriesByName('first-contentful-paint')[0].startTime,
              bytes: entries.reduce((sum, entry) => sum + entry.transferSize, 0),
            };"""
        )
    )


def heap(browser: Browser, messages: int) -> float:
    """Let a tab draw some messages more, and return the size of its heap in MiB."""
    browser.run(
        """
        const draw = CanvasRenderingContext2D.prototype.drawImage;
        let left = arguments[0];
        await new Promise((done) => {
          CanvasRenderingContext2D.prototype.drawImage = function (...values) {
            draw.apply(this, values);
            if (--left === 0) done();
          };
        });
        CanvasRenderingContext2D.prototype.drawImage = draw;
        gc();""",
        messages,
    )
    browser.devtools("Performance.enable")
    found = browser.devtools("Performance.getMetrics")["metrics"]
    size = next(metric["value"] for metric in found if metric["name"] == "JSHeapUsedSize")
    return round(float(size) / 2**20, 3)


def measure_stop(cameras: int, count: int) -> None:
    """Write how long the page takes to end on SIGTERM, with open sockets that do nothing."""
    seconds = []
    with tempfile.TemporaryDirectory() as name, running_line(Path(name), cameras):
        for _ in range(5):
            with running_page(Path(name)) as (url, process):
                seconds.append(asyncio.run(stop_with_sockets(url, process, count)))
    metrics = {"longest_s": max(seconds), "median_s": median(seconds)}
    print(write_result("live_stop", "green", "fp32", metrics=metrics, samples={"s": seconds}))


async def stop_with_sockets(url: str, process: subprocess.Popen[str], count: int) -> float:
    """Open sockets that never read again, end the page, and return how long it took."""
    async with aiohttp.ClientSession(headers={"Origin": url.rstrip("/")}) as session:
        sockets = [
            await session.ws_connect(f"{url}live/feed", autoclose=False, autoping=False)
            for _ in range(count)
        ]
        for socket in sockets:
            await socket.send_str("next")
        await asyncio.sleep(1.0)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.wait, 60)
        seconds = round(time.monotonic() - began, 3)
        assert code == 0, code
        return seconds


async def look_all(url: str, count: int, seconds: float) -> int:
    """Be several tabs and return how many messages they drew together."""
    return sum(await asyncio.gather(*(look(url, seconds) for _ in range(count))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["line", "browser", "stop"])
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--tabs", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--look", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=10.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look:
        print(asyncio.run(look_all(options.look, options.tabs, options.seconds)))
        return
    if "line" in options.what:
        measure_line(options.cameras, options.tabs, options.pairs)
    if "browser" in options.what:
        measure_browser(options.cameras)
    if "stop" in options.what:
        measure_stop(options.cameras, options.tabs)


if __name__ == "__main__":
    main()
