"""Take real cameras away from a running line, and count how it comes back.

    python benchmarks/soak_cameras.py [--rounds 10]

An RTSP server of GStreamer with H.264, Aravis' fake GigE Vision camera and Basler's emulated camera
on one `edge-ad run`. The first two are killed and started again, again and again, and the RTSP
server is stopped and continued (SIGSTOP). The emulated camera is left alone and must keep its
rate. Needs what tests/source needs for them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from results import write_result  # the script's own folder is on the path

ROOT = Path(__file__).parents[1]
SERVERS = ROOT / "tests" / "source"
ENGINE = ROOT / "edge_ad" / "sample" / "engine.onnx"
PIPELINE = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=10/1 ! "
    "openh264enc gop-size=10 ! h264parse ! rtph264pay name=pay0 config-interval=1 )"
)
SERIAL, TIMEOUT_S, WITHIN_S = "EDGEADSOAK", 3.0, 2.0
_WAIT_S = 60.0


class Server:
    """A camera's server process, which can be killed, stopped, continued and started again."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self._command = command
        self.process = self._run()

    def _run(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline()  # it is there
        return process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        self.process = self._run()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


class Line:
    """A running `edge-ad run`; `records` are the lines that it printed, with the time of each."""

    def __init__(self, cameras: dict[str, str], folder: Path) -> None:
        words = [word for name, uri in cameras.items() for word in ("--camera", f"{name}={uri}")]
        command = [sys.executable, "-m", "edge_ad", "run", *words, "--engine", str(ENGINE)]
        command += ["-o", str(folder), "--timeout-s", str(TIMEOUT_S), "--json"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYLON_CAMEMU": "1"}
        )
        self.records: list[tuple[float, dict[str, Any]]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.records.append((time.monotonic(), json.loads(text)))

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], since: float) -> float:
        """Return after how many seconds such a record came, NaN when none did."""
        place = 0
        while time.monotonic() < since + _WAIT_S:
            for when, record in self.records[place:]:
                place += 1
                if when >= since and wanted(record):
                    return when - since
            time.sleep(0.01)
        return float("nan")

    def held(self) -> dict[str, float]:
        """Return the process's own MiB in memory, threads and open files.

        Without what files and devices share: while a GigE camera streams, Aravis maps 32 MiB of
        the kernel's packets where it may.
        """
        proc = Path("/proc") / str(self.process.pid)
        status = (proc / "status").read_text()
        kib, threads = (
            re.search(rf"^{key}:\s+(\d+)", status, re.M) for key in ("RssAnon", "Threads")
        )
        assert kib and threads
        files = len(list((proc / "fd").iterdir()))
        return {"mib": int(kib[1]) / 1024, "threads": int(threads[1]), "files": files}

    def finish(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._reader.join(10)
        return code


def judged(camera: str) -> Callable[[dict[str, Any]], bool]:
    """Return whether a record is a verdict of the camera on a frame."""
    return lambda record: (
        record["type"] == "inspection"
        and record["camera"] == camera
        and record["verdict"] != "INVALID"
    )


def fault(camera: str, step: str) -> Callable[[dict[str, Any]], bool]:
    """Return whether a record is this step, new or end, of a camera's fault."""
    return lambda record: (
        record["type"] == "alarm"
        and record["camera"] == camera
        and (record["kind"], record["event"]) == ("camera_fault", step)
    )


def take_away(line: Line, server: Server, absent_s: float, how: str) -> float:
    """Take a camera away once; return how long after its return a frame of it was judged."""
    server.send(signal.SIGSTOP) if how == "stop" else server.kill()
    time.sleep(absent_s)
    server.send(signal.SIGCONT) if how == "stop" else server.start()
    return line.wait_for(judged(server.name), time.monotonic())


def disturb(line: Line, server: Server, how: str, times: int) -> tuple[dict[str, Any], list[float]]:
    """Take a camera away so often, and wait for the end of its one standing fault."""
    before = len(line.records)
    late = [take_away(line, server, TIMEOUT_S + 2, how) for _ in range(times)]
    line.wait_for(fault(server.name, "end"), time.monotonic())
    records = [record for _, record in line.records[before:]]
    metrics = {
        "rounds": times,
        "judged_in_time": sum(value <= WITHIN_S for value in late),
        "judged_median_s": round(statistics.median(late), 2),
        "judged_slowest_s": round(max(late), 2),
        "faults": sum(map(fault(server.name, "new"), records)),
    }
    return metrics, late


def count(line: Line) -> dict[str, Any]:
    """Return what must hold over all records: parts and frames once, each fault with its end."""
    records = [record for _, record in line.records]
    inspections = [record for record in records if record["type"] == "inspection"]
    parts = Counter(record["part"] for record in inspections)
    alarms = [record for record in records if record["type"] == "alarm"]
    faults = [record for record in alarms if record["kind"] == "camera_fault"]
    new = {record["id"] for record in faults if record["event"] == "new"}
    return {
        "inspections": len(inspections),
        "parts_twice": sum(times > 1 for times in parts.values()),
        "faults": len(new),
        "faults_without_end": len(new - {r["id"] for r in faults if r["event"] == "end"}),
    }


def longest_gap_s(line: Line, camera: str) -> float:
    """Return the longest time without a verdict of a camera that was left alone."""
    times = [when for when, record in line.records if judged(camera)(record)]
    return round(max(after - before for before, after in itertools.pairwise(times)), 2)


@contextmanager
def servers() -> Iterator[tuple[Server, Server, str]]:
    """Run both servers and yield them with the RTSP address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    rtsp = ["/usr/bin/python3", "-I", str(SERVERS / "gst_camera.py"), str(port), PIPELINE]
    gige = [sys.executable, str(SERVERS / "fake_genicam.py"), SERIAL]
    with ExitStack() as stack:
        both = []
        for name, command in (("rtsp", rtsp), ("gige", gige)):
            both.append(Server(name, command))
            stack.callback(both[-1].kill)
        yield both[0], both[1], f"rtsp://127.0.0.1:{port}/live"


def warm_up(line: Line, faults: Sequence[tuple[Server, str]]) -> None:
    """Let each fault happen once, and wait until all cameras are back."""
    away = {}
    for server, how in faults:
        away[server.name] = time.monotonic()
        take_away(line, server, TIMEOUT_S + 2, how)
    for name, since in away.items():
        line.wait_for(fault(name, "end"), since)


def measure(rounds: int) -> tuple[dict[str, dict[str, Any]], dict[str, list[float]]]:
    """Run the line through all faults; return metrics of each and of the line, and samples."""
    with ExitStack() as stack:
        rtsp, gige, address = stack.enter_context(servers())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        cameras = {
            "rtsp": address,
            "gige": f"genicam://{SERIAL}?exposure=20000&fps=10&format=Mono8",
            "basler": "pylon://0815-0000?fps=10",
        }
        line = Line(cameras, Path(folder) / "out")
        stack.callback(line.process.kill)
        for name in cameras:
            line.wait_for(judged(name), time.monotonic())
        metrics: dict[str, dict[str, Any]] = {}
        samples: dict[str, list[float]] = {}
        faults = ((rtsp, "kill"), (gige, "kill"), (rtsp, "stop"))
        warm_up(line, faults)
        warm = line.held()
        for server, how in faults:
            kind = f"{server.name} {how}"
            metrics[kind], samples[kind] = disturb(line, server, how, rounds)
        last = line.held()
        code = line.finish()
        metrics["the line"] = count(line)
        metrics["the line"] |= {f"growth_{key}": round(last[key] - warm[key], 1) for key in last}
        metrics["the line"] |= {
            "left_alone_gap_s": longest_gap_s(line, "basler"),
            "exit_code": code,
        }
    return metrics, samples


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    metrics, samples = measure(options.rounds)
    print(json.dumps(metrics, indent=1))
    settings = vars(options) | {"timeout_s": TIMEOUT_S, "within_s": WITHIN_S}
    for kind, values in metrics.items():
        late = {"judged_s": samples[kind]} if kind in samples else {}
        write_result("cameras", kind, "all", metrics=values, settings=settings, samples=late)


if __name__ == "__main__":
    main()
