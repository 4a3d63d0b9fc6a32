"""Measure the time from a verdict to a PLC's register and to a GPIO line.

    python benchmarks/bench_plc.py [--seconds 60] [--fps 30]

A line judges synthetic frames with an engine that costs nearly nothing, and rejects all. Times
run, on one clock, from the call of the first outlet to: the read that shows the part's id to a
Modbus master (another process, which polls each millisecond), the write that reaches a PLC (another
one, pymodbus' server), and the call that drives the line of a stand-in for a GPIO chip. How late a
process that only sleeps is woken meanwhile shows the machine's share.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gpiod
import numpy as np
from pymodbus.client import ModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from results import write_result  # the script's own folder is on the path

from edge_ad.inspection import Inspection
from edge_ad.line.alarm import PartRule
from edge_ad.line.config import LineConfig
from edge_ad.line.open import open_line
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.modbus_map import BLOCK, LENGTH, decode

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "tests" / "engines" / "green-32-b1.onnx"
_POLL_S = 0.001
Times = dict[int, float]


class Stamps(Outlet):
    """Notes when each part's verdict is handed to the outlets; it is the first of them."""

    def __init__(self) -> None:
        self.times: Times = {}

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        self.times[inspection.part] = time.monotonic()


class Chip:
    """Stands in for a GPIO chip: notes when the line rises."""

    def __init__(self) -> None:
        self.rises: list[float] = []

    def request_lines(self, path: str, **_: Any) -> Chip:
        return self

    def set_value(self, line: int, value: Any) -> None:
        if value:
            self.rises.append(time.monotonic())

    def release(self) -> None:
        pass


def be_plc(port: int, seconds: float, sender: Any) -> None:
    """Be a PLC, and send when each result was written into it."""
    times = Times()

    async def note(*arguments: Any) -> None:
        if words := arguments[-1]:
            times.setdefault(int(decode(words)["result_id"]), time.monotonic())

    async def serve() -> None:
        words = [SimData(0, count=BLOCK, datatype=DataType.REGISTERS)]
        bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        device = SimDevice(id=0, simdata=(bits, bits, words, words), action=note)
        server = ModbusTcpServer(device, address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        sender.send("serves")
        await asyncio.sleep(seconds)
        sender.send(times)
        await server.shutdown()  # type: ignore[no-untyped-call]

    asyncio.run(serve())


def poll(port: int, seconds: float, sender: Any) -> None:
    """Read the block again and again, and send when each result was first seen."""
    times, reads = Times(), 0
    client = ModbusTcpClient("127.0.0.1", port=port)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not client.connected and not client.connect():  # type: ignore[no-untyped-call]
            time.sleep(0.05)
            continue
        answer = client.read_input_registers(0, count=LENGTH)
        times.setdefault(int(decode(answer.registers)["result_id"]), time.monotonic())
        reads += 1
        time.sleep(_POLL_S)
    client.close()  # type: ignore[no-untyped-call]
    sender.send((times, reads))


def sleep(_port: int, seconds: float, sender: Any) -> None:
    """Do nothing but sleep, and send how late each sleep ended, in milliseconds."""
    late: list[float] = []
    until = time.monotonic() + seconds
    while (now := time.monotonic()) < until:
        time.sleep(0.005)
        late.append((time.monotonic() - now - 0.005) * 1e3)
    sender.send(late)


def start(work: Any, port: int, seconds: float) -> Any:
    """Start a process, and return it with the end of a pipe that it sends to."""
    context = multiprocessing.get_context("spawn")  # no copies of this one's sockets
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(port, seconds, sender))
    process.start()
    return process, receiver


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def delays_ms(verdicts: Times, arrivals: Times) -> list[float]:
    """Return the time from verdict to arrival of each part that arrived."""
    return [
        (at - verdicts[part]) * 1e3 for part, at in sorted(arrivals.items()) if part in verdicts
    ]


def nearest_before(verdicts: Times, rises: Sequence[float]) -> list[float]:
    """Return the time from the newest verdict to each rise of the line."""
    times = np.array(sorted(verdicts.values()))
    places = np.searchsorted(times, rises, side="right") - 1
    return [
        (rise - times[place]) * 1e3 for rise, place in zip(rises, places, strict=True) if place >= 0
    ]


def summarise(name: str, values: Sequence[float]) -> dict[str, float]:
    p50, p99, highest = (float(np.percentile(values, at)) for at in (50, 99, 100))
    return {f"{name}_ms_p50": p50, f"{name}_ms_p99": p99, f"{name}_ms_max": highest}


def line_config(fps: float, server_port: int, plc_port: int) -> LineConfig:
    """Return a line that rejects every frame, and reports to a master, a PLC and a GPIO line."""
    return LineConfig(
        cameras=(f"top=pattern://?fps={fps:g}&width=64&height=48",),
        engine=ENGINE,
        threshold=-1.0,
        part=PartRule.FRAME,
        outlets=(
            f"modbus-tcp://127.0.0.1:{server_port}",
            f"modbus-client://127.0.0.1:{plc_port}",
            "gpio://gpiochip0/17?pulse_ms=5&failsafe=pass",
        ),
    )


def measure(seconds: float, fps: float) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Run the line; return how many parts and reads there were, and the delays by their kind."""
    server_port, plc_port = free_ports(2)
    chip, stamps = Chip(), Stamps()
    plc, writes = start(be_plc, plc_port, seconds + 2)
    assert writes.recv() == "serves"
    gpiod.request_lines = chip.request_lines  # type: ignore[assignment]
    master, polls = start(poll, server_port, seconds)
    sleeper, sleeps = start(sleep, 0, seconds)
    with open_line(line_config(fps, server_port, plc_port), [stamps]) as line:
        line.start()
        seen, reads = polls.recv()
        written = writes.recv()
        result = line.finish()
        wakeups = sleeps.recv()
    for process in (master, plc, sleeper):
        process.join()
    return {"parts": result["rejected"], "reads_per_s": reads / seconds}, {
        "modbus_register": delays_ms(stamps.times, seen),
        "modbus_written": delays_ms(stamps.times, written),
        "gpio": nearest_before(stamps.times, chip.rises),
        "wakeup": wakeups,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--fps", type=float, default=30.0)
    options = parser.parse_args()
    metrics, delays = measure(options.seconds, options.fps)
    for name, values in delays.items():
        metrics |= summarise(name, values)
    settings = {"seconds": options.seconds, "fps": options.fps, "load": os.getloadavg()[0]}
    rounded = {name: [round(value, 3) for value in values] for name, values in delays.items()}
    print(
        write_result("plc", "latency", "all", metrics=metrics, settings=settings, samples=rounded)
    )
    print(metrics)


if __name__ == "__main__":
    main()
