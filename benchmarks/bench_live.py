"""Measure what the operator's page costs a browser, and how it ends.

    python benchmarks/bench_live.py [browser] [stop] [--cameras 8] [--tabs 3]

- browser: a tab in Chromium: first paint, bytes without frames, and the heap after an hour's worth
  of messages, sent as fast as the tab takes them.
- stop: how long the page takes to end with tabs that neither ask nor close.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
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
from results import write_result  # the script's own folder is on the path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for the browser of the tests

from edge_ad.control.line_control import LineControl  # noqa: E402
from edge_ad.line.config import LineConfig  # noqa: E402
from edge_ad.line.open import open_line  # noqa: E402
from edge_ad.line.supervisor import Supervisor  # noqa: E402
from edge_ad.store.store import Store  # noqa: E402
from tests.page.browser import Browser, running_browser  # noqa: E402

ENGINE = ROOT / "tests" / "engines" / "green-32-b1.onnx"
_THRESHOLD = 2.0


@contextlib.contextmanager
def running_line(folder: Path, cameras: int) -> Iterator[None]:
    """Run a line of cameras of 320 x 240 pixels, which a synthetic line draws."""
    names = [f"c{number}=pattern://?seed={number}&fps=2" for number in range(cameras)]
    config = LineConfig(tuple(names), ENGINE, threshold=_THRESHOLD)
    with open_line(config, []) as line, controlled(line, folder):
        yield


@contextlib.contextmanager
def controlled(line: Supervisor, folder: Path) -> Iterator[None]:
    """Run a line with a store and a control socket."""
    store = Store(folder)
    line.use_store(store)
    control = LineControl(line, store)
    line.start()
    control.start()
    try:
        yield
    finally:
        control.close()
        line.finish()


@contextlib.contextmanager
def running_page(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `edge-ad page`, and yield its address and process."""
    command = [sys.executable, "-m", "edge_ad", "page", str(folder), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split('"url": "')[1].split('"')[0], process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


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
    settings = {"cameras": cameras, "fps": 2}
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["browser", "stop"])
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--tabs", type=int, default=3)
    options = parser.parse_args()
    if "browser" in options.what:
        measure_browser(options.cameras)
    if "stop" in options.what:
        measure_stop(options.cameras, options.tabs)


if __name__ == "__main__":
    main()
