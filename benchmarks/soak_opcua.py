"""Let ten OPC UA clients reconnect to a line's server again and again, and watch its memory.

    python benchmarks/soak_opcua.py [--seconds 600] [--clients 10]

Each client connects, subscribes to every variable of a camera and to all events, waits for some
changes and leaves: half of the times by closing its session, else by dropping its connection, so
that the server has to find out. Meanwhile two cameras have fifty results a second, a tenth of them
rejects with an alarm. One client stays. Counted are sessions, the memory of the server at the
beginning and at the end, what handing over a result costs the line, and how late the client that
stays receives a reject.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import random
import socket
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from asyncua import Client, ua
from commands import resident_mib  # the script's own folder is on the path
from results import write_result

from edge_ad.clock import now_utc
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.opcua.nodes import CAMERA
from edge_ad.opcua.settings import NAMESPACE
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.registry import open_outlet

CAMERAS, RATE_HZ, REJECTED = ("top", "side"), 50.0, 10  # every tenth part
_WARM_UP = 0.2  # of the time, in which the server loads and fills its caches
_REST_S = 5.0
_NOTHING = Evidence()


class Line(threading.Thread):
    """Feeds the outlet like a line. `costs_us` are the calls, `sent` when each reject was sent."""

    def __init__(self, outlet: Outlet) -> None:
        super().__init__(daemon=True)
        self.outlet = outlet
        self.costs_us: list[float] = []
        self.sent: dict[int, float] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        part = 0
        while not self.ended.wait(1 / RATE_HZ):
            part += 1
            rejected = part % REJECTED == 0
            verdict = Verdict.REJECT if rejected else Verdict.PASS
            camera = CAMERAS[part % len(CAMERAS)]
            inspection = Inspection(
                verdict, 0.5, 0.25, part=part, camera=camera, time_utc=now_utc()
            )
            began = time.perf_counter()
            if rejected:
                self.sent[part] = time.monotonic()
            self.outlet.inspected(inspection, _NOTHING)
            self.costs_us.append((time.perf_counter() - began) * 1e6)
            if rejected:
                self._alarm(camera, part)

    def _alarm(self, camera: str, part: int) -> None:
        for step in (AlarmStep.NEW, AlarmStep.END):
            event = AlarmEvent(
                step, f"a-{part}", AlarmKind.DEFECT, camera, part, part, part, 0.5, 0.25,
                camera=camera, part=part, time_utc=now_utc(),
            )  # fmt: skip
            self.outlet.alarmed(event, _NOTHING)


class Steady:
    """The client that stays: how late it receives each reject."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.delays_ms: list[float] = []

    def event_notification(self, event: Any) -> None:
        sent = self.line.sent.pop(event.PartNumber, None)
        if sent is not None:
            self.delays_ms.append((time.monotonic() - sent) * 1e3)


class Counter:
    """Counts what a client receives."""

    def __init__(self) -> None:
        self.changes = self.events = 0

    def datachange_notification(self, *_: object) -> None:
        self.changes += 1

    def event_notification(self, _: object) -> None:
        self.events += 1

    def status_change_notification(self, _: object) -> None: ...


async def come_and_go(url: str, until: float, totals: dict[str, int], seed: int) -> None:
    """Connect and leave until the time is up."""
    chance = random.Random(seed)
    while time.monotonic() < until:
        client = Client(url, timeout=30)
        try:
            await client.connect()
            counter = Counter()
            namespace = await client.get_namespace_index(NAMESPACE)
            subscription = await client.create_subscription(50, counter)
            nodes = [client.get_node(ua.NodeId(f"top/{path}", namespace)) for path in CAMERA]
            await subscription.subscribe_data_change(nodes)
            await subscription.subscribe_events()
            await asyncio.sleep(chance.uniform(0.5, 3.0))
            totals["sessions"] += 1
            totals["changes"] += counter.changes
            totals["events"] += counter.events
        except (OSError, asyncio.TimeoutError, ua.UaError):
            totals["failed"] += 1
        finally:
            with contextlib.suppress(Exception):
                await (client.disconnect() if chance.random() < 0.5 else drop(client))


async def drop(client: Client) -> None:
    """Cut the connection without a word, and tidy this side."""
    client.uaclient.protocol.transport.abort()
    await client.disconnect()


async def stay(url: str, until: float, steady: Steady) -> None:
    async with Client(url, timeout=60) as client:
        namespace = await client.get_namespace_index(NAMESPACE)
        kind = await client.nodes.base_event_type.get_child(f"{namespace}:ResultReadyEventType")
        subscription = await client.create_subscription(50, steady)
        await subscription.subscribe_events(client.nodes.server, kind)
        steady.line.sent.clear()
        await asyncio.sleep(until - time.monotonic())
        steady.line.ended.set()
        await asyncio.sleep(_REST_S)  # for what is under way


def child() -> int:
    own = os.getpid()
    text = "".join(
        path.read_text() for path in Path(f"/proc/{own}/task").glob("*/children") if path.exists()
    )
    return int(text.split()[0])


async def watch(process: int, until: float, memory: list[float]) -> None:
    while time.monotonic() < until:
        memory.append(resident_mib(process))
        await asyncio.sleep(1.0)


async def soak(url: str, seconds: float, clients: int, steady: Steady) -> tuple[Any, list[float]]:
    until = time.monotonic() + seconds
    totals = dict.fromkeys(("sessions", "failed", "changes", "events"), 0)
    memory: list[float] = []
    await asyncio.gather(
        watch(child(), until, memory),
        stay(url, until, steady),
        *(come_and_go(url, until, totals, seed) for seed in range(clients)),
    )
    return totals, memory


def wait_for(port: int) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.1)
    raise SystemExit("the server has not started")


def growth(memory_mib: Sequence[float]) -> dict[str, float]:
    """Return the memory in the first and the last third of the time after the warm-up."""
    warm = memory_mib[int(len(memory_mib) * _WARM_UP) :]
    third = max(1, len(warm) // 3)
    early, late = statistics.median(warm[:third]), statistics.median(warm[-third:])
    return {
        "memory_mib_early": round(early, 1),
        "memory_mib_late": round(late, 1),
        "memory_growth_mib": round(late - early, 2),
    }


def measure(seconds: float, clients: int) -> tuple[dict[str, Any], list[float]]:
    """Run line, server and clients; return the figures, and the server's MiB each second."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    outlet = open_outlet(f"opcua://127.0.0.1:{port}?stale_ms=1000")
    outlet.started(CAMERAS, None)
    wait_for(port)
    line = Line(outlet)
    line.start()
    steady = Steady(line)
    url = f"opc.tcp://127.0.0.1:{port}"
    totals, memory = asyncio.run(soak(url, seconds, clients, steady))
    outlet.close()
    return {
        **totals,
        **growth(memory),
        "hand_over_us_p50": round(float(np.percentile(line.costs_us, 50)), 1),
        "hand_over_us_p99": round(float(np.percentile(line.costs_us, 99)), 1),
        "rejects": len(steady.delays_ms),
        "rejects_unheard": len(line.sent),
        "reject_ms_p50": round(float(np.percentile(steady.delays_ms, 50)), 1),
        "reject_ms_p99": round(float(np.percentile(steady.delays_ms, 99)), 1),
    }, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clients", type=int, default=10)
    args = parser.parse_args()
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    metrics, memory = measure(args.seconds, args.clients)
    settings = {
        "seconds": args.seconds,
        "clients": args.clients,
        "rate_hz": RATE_HZ,
        "load_average": round(os.getloadavg()[0], 1),
    }
    samples = {"memory_mib": [round(value, 1) for value in memory]}
    path = write_result(
        "opcua", "clients", "all", metrics=metrics, settings=settings, samples=samples
    )
    for name, value in metrics.items():
        print(f"{name:20} {value}")
    print(path)


if __name__ == "__main__":
    main()
