"""Count what reaches an MQTT subscriber while broker and line are killed, and measure how fast.

    python benchmarks/soak_outlets.py [faults] [latency] [rate] [sustained]

A real Mosquitto (in the PATH or /usr/sbin) and a subscriber with a persistent session.

- faults: 10 000 events while the broker is away, then events at 500 a second while the broker is
  stopped and started and the line is killed (SIGKILL) at random moments, with a slow subscriber.
- latency: from the verdict of a line that rejects every frame to the subscriber.
- rate: frames per second of a line without outlet, with a broker, and with one that is away.
- sustained: 200 events a second; memory of the line and the longest backlog.

On a shared machine: sudo chrt -f 10 ionice -c 1 python benchmarks/soak_outlets.py latency
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from commands import resident_mib  # the script's own folder is on the path
from mqtt_peers import Broker, Hall
from results import write_result
from soak_store import event, sync_ms

from edge_ad.outlet.delivery import Deliveries
from edge_ad.outlet.durable import DurableOutlet
from edge_ad.outlet.registry import open_outlet
from edge_ad.store.outbox import read_outbox
from edge_ad.store.reading import EventFilter, read_events
from edge_ad.store.store import Store

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "tests" / "engines" / "green-32-b1.onnx"


def make(folder: Path, uri: str, rate: float, count: int) -> None:
    """Be a line that records `count` events at a rate and delivers them; print memory."""
    outlet = open_outlet(uri)
    assert isinstance(outlet, DurableOutlet)
    with Store(folder) as store:
        Deliveries(store, [outlet], ())
        began = time.monotonic()
        for number in range(count):
            store.record(event(store.next_part()))
            if rate and (pause_s := began + (number + 1) / rate - time.monotonic()) > 0:
                time.sleep(pause_s)
            if number % 2_000 == 0:
                waiting = [state["waiting"] for state in read_outbox(folder)]
                print(json.dumps({"rss_mib": resident_mib(), "waiting": sum(waiting)}), flush=True)
        wait_for_delivery(folder, 60)


def maker(folder: Path, broker: Broker, rate: float, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "make", str(folder), broker.uri, str(rate), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def wait_for_delivery(folder: Path, timeout_s: float) -> bool:
    """Wait until nothing waits in the outbox."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if all(state["waiting"] == 0 for state in read_outbox(folder)):
            return True
        time.sleep(0.1)
    return False


def wait_for_hall(hall: Hall) -> None:
    """Wait until the subscriber has received nothing for two seconds."""
    count = -1
    while count != len(hall.ids):
        count = len(hall.ids)
        time.sleep(2)


def compare(folder: Path, ids: list[str]) -> dict[str, Any]:
    """Return what of the store's events has arrived, how often and in which order."""
    made = [record["id"] for record in read_events(folder, EventFilter(types=("reject",)))]
    place = {name: number for number, name in enumerate(made)}
    first_times = list(dict.fromkeys(ids))
    places = [place[name] for name in first_times if name in place]
    left = sum(state["waiting"] for state in read_outbox(folder))
    return {
        "events": len(made),
        "delivered": len(places),
        "left_waiting": left,
        "lost": len(made) - len(places) - left,
        "unknown": len(first_times) - len(places),
        "duplicates": len(ids) - len(first_times),
        "order_violations": sum(later < earlier for earlier, later in itertools.pairwise(places)),
    }


@contextlib.contextmanager
def broker_and_hall(slow_s: float = 0.0) -> Iterator[tuple[Path, Broker, Hall]]:
    with tempfile.TemporaryDirectory() as name:
        broker = Broker(Path(name))
        broker.start()
        hall = Hall(broker.port, slow_s)
        folder = Path(name) / "line"
        folder.mkdir()
        try:
            yield folder, broker, hall
        finally:
            hall.close()
            broker.stop()


def broker_away() -> dict[str, Any]:
    """Return the counts of events that were recorded while the broker was away."""
    with broker_and_hall() as (folder, broker, hall):
        broker.stop()
        away = maker(folder, broker, 2_000, 10_000)
        memory = [json.loads(away.stdout.readline()) for _ in range(5)]  # type: ignore[union-attr]
        broker.start()
        wait_for_delivery(folder, 120)
        away.wait()
        wait_for_hall(hall)
        growth = round(memory[-1]["rss_mib"] - memory[0]["rss_mib"], 1)
        return compare(folder, hall.ids) | {"memory_growth_mib": growth}


def line_killed(rng: random.Random, kills: int) -> dict[str, Any]:
    """Return the counts of events of a line that was killed, and whose broker was stopped."""
    with broker_and_hall(slow_s=0.001) as (folder, broker, hall):
        restarts = 0
        for number in range(kills):
            line = maker(folder, broker, 500, 1_000_000)
            time.sleep(rng.uniform(1.0, 4.0))
            if number % 2:
                broker.stop()
                restarts += 1
                time.sleep(rng.uniform(0.1, 2.0))
                if number % 4 == 1:
                    line.send_signal(signal.SIGKILL)
                broker.start()
                time.sleep(rng.uniform(0.0, 2.0))
            line.kill()
            line.wait()
        last = maker(folder, broker, 0, 1)
        last.wait()
        wait_for_hall(hall)
        return compare(folder, hall.ids) | {"kills": kills, "broker_restarts": restarts}


def faults(seed: int, kills: int) -> None:
    """Write the counts of both parts."""
    metrics = {f"away_{name}": value for name, value in broker_away().items()}
    metrics |= line_killed(random.Random(seed), kills)
    print(
        write_result(
            "outlets",
            "mqtt_faults",
            "all",
            metrics=metrics,
            settings=machine_settings() | {"seed": seed},
        )
    )
    print(json.dumps(metrics))


def run_line(folder: Path, camera: str, *options: str) -> dict[str, Any]:
    """Run a line to its end and return its summary."""
    command = [sys.executable, "-m", "edge_ad", "run", "--camera", f"top={camera}", "--engine"]
    command += [str(ENGINE), "--part", "frame", "--quiet", "-o", str(folder), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return dict(json.loads((folder / "summary.json").read_text()))


def latency(frames: int) -> None:
    """Write the times from the verdict, by its record's millisecond, to the subscriber."""
    with broker_and_hall() as (folder, broker, hall):
        run_line(
            folder,
            f"pattern://?fps=20&frames={frames}",
            "--threshold", "-1", "--evidence-count", "0", "--outlet", broker.uri,
        )  # fmt: skip
        wait_for_hall(hall)
        samples = {
            name: [
                round(max(0.0, came - _moment(json.loads(payload)["time_utc"])) * 1e3, 2)
                for came, payload in hall.times[name]
            ]
            for name in ("events", "verdict")
        }
        metrics = compare(folder, hall.ids)
    samples["sync"] = sync_ms(300)
    for name, times in samples.items():
        for share in (50, 99):
            metrics[f"{name}_ms_p{share}"] = round(float(np.percentile(times, share)), 2)
    settings = machine_settings() | {"cores": os.cpu_count()}
    path = write_result(
        "outlets", "mqtt_latency", "all", metrics=metrics, settings=settings, samples=samples
    )
    print(path, json.dumps(metrics))


def machine_settings() -> dict[str, Any]:
    """Return how busy the machine is, and whether this process goes before others."""
    real_time = os.sched_getscheduler(0) == os.SCHED_FIFO
    return {
        "load_average": round(os.getloadavg()[0], 1),
        "priority": "real-time" if real_time else f"nice {os.getpriority(os.PRIO_PROCESS, 0)}",
    }


def _moment(time_utc: str) -> float:
    return datetime.fromisoformat(time_utc).astimezone(timezone.utc).timestamp()


def rate(rounds: int, frames: int) -> None:
    """Write the line's rate without outlet, with a broker and with an absent one, in turn.

    One line after another, each for a few seconds, so that a machine that changes its speed
    changes it for all three; beside the rate stands the processor time, which other
    processes hardly touch.
    """
    samples: dict[str, list[float]] = {}
    with broker_and_hall() as (folder, broker, _):
        outlets = {
            "without": (),
            "broker": ("--outlet", broker.uri),
            "absent": ("--outlet", "mqtt://127.0.0.1:1/soak?events=reject"),
        }
        for number, (name, options) in itertools.product(range(rounds), outlets.items()):
            before = _children_cpu_s()
            result = run_line(
                folder / f"{name}-{number}", f"pattern://?fps=0&frames={frames}",
                "--threshold", "0.7", "--evidence-count", "0", *options,
            )  # fmt: skip
            samples.setdefault(f"{name}_fps", []).append(result["fps"])
            cpu_ms = (_children_cpu_s() - before) / frames * 1e3
            samples.setdefault(f"{name}_cpu_ms", []).append(round(cpu_ms, 3))
    metrics = {name: float(np.median(values)) for name, values in samples.items()}
    for name, unit in itertools.product(("broker", "absent"), ("fps", "cpu_ms")):
        ratio, low, high = _ratio(samples[f"{name}_{unit}"], samples[f"without_{unit}"])
        metrics |= {f"{name}_{unit}_ratio": ratio, f"{name}_{unit}_ratio_low": low}
        metrics[f"{name}_{unit}_ratio_high"] = high
    settings = machine_settings() | {"frames": frames, "rounds": rounds}
    path = write_result(
        "outlets", "line_rate", "all", metrics=metrics, settings=settings, samples=samples
    )
    print(path, json.dumps(metrics))


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _ratio(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Return the median ratio of runs made one after the other, with its 95 % interval."""
    ratios = np.array(ours) / np.array(theirs)
    draws = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
    return round(float(np.median(ratios)), 3), round(float(low), 3), round(float(high), 3)


def sustained(seconds: int) -> None:
    """Write memory and backlog at 200 events a second."""
    with broker_and_hall() as (folder, broker, hall):
        line = maker(folder, broker, 200, 200 * seconds)
        marks = [json.loads(text) for text in line.stdout or ()]
        line.wait()
        wait_for_hall(hall)
        metrics = compare(folder, hall.ids)
    metrics |= {
        "seconds": seconds,
        "longest_backlog": max(mark["waiting"] for mark in marks),
        "memory_growth_mib": round(marks[-1]["rss_mib"] - marks[1]["rss_mib"], 2),
    }
    path = write_result(
        "outlets",
        "mqtt_sustained",
        "all",
        metrics=metrics,
        settings=machine_settings(),
        samples={"marks": marks},
    )
    print(path, json.dumps(metrics))


def main() -> None:
    if sys.argv[1:2] == ["make"]:
        folder, uri, events_a_second, count = sys.argv[2:]
        return make(Path(folder), uri, float(events_a_second), int(count))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["faults", "latency", "rate", "sustained"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--frames", type=int, default=1_200)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=int, default=600)
    given = parser.parse_args()
    if "faults" in given.parts:
        faults(given.seed, given.kills)
    if "latency" in given.parts:
        latency(given.frames)
    if "rate" in given.parts:
        rate(given.rounds, given.frames // 2)
    if "sustained" in given.parts:
        sustained(given.seconds)
    return None


if __name__ == "__main__":
    main()
