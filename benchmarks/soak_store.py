"""Kill a line at random moments, and measure what an event costs.

    python benchmarks/soak_store.py [--kills 200] [--events 100000] [--seed 0]

A line that rejects every part is killed (SIGKILL) at a random moment, while another process watches
what it has committed, and the same command starts again in the same folder: a third of the kills
come within 3 s of the command, the others within 1 s of the line's first event. Counted are events
lost or damaged, part numbers that come twice, alarms left open and starts refused.

Then events are recorded as fast as the store takes them, and one by one on an idle store.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from commands import resident_mib  # the script's own folder is on the path
from results import write_result

from edge_ad.inspection import Region
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.store import Store

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "tests" / "engines" / "green-32-b1.onnx"
RUN = (
    sys.executable, "-m", "edge_ad", "run", "--json", "--threshold", "-1", "--alarm-k", "1",
    "--camera", "top=pattern://?fps=200", "--engine", str(ENGINE), "-o",
)  # fmt: skip
AFTER_COMMAND_S, AFTER_EVENT_S = 3.0, 1.0  # latest kills
_POLL_S = 0.002
_TAIL = 10_000  # events at the beginning and at the end whose cost is compared


class Life:
    """One start of the line and its death; `seen` is the newest event that was seen committed."""

    def __init__(self, folder: Path, delay_s: float, *, from_event: bool) -> None:
        before = self.seen = newest(folder / "line.db")
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen([*RUN, str(folder)], stdout=output, stderr=output)
            until = float("inf") if from_event else time.monotonic() + delay_s
            while time.monotonic() < until and process.poll() is None:
                self.seen = newest(folder / "line.db")
                if self.seen > before + 1 and until == float("inf"):  # + 1: the start itself
                    until = time.monotonic() + delay_s
                time.sleep(_POLL_S)
            process.kill()
            self.code = process.wait()
            output.seek(0)
            self.parts = list(printed_parts(output.read()))


def newest(path: Path) -> int:
    """Return the highest `seq` that is committed, 0 when there is no database yet."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT max(seq) FROM events").fetchone()[0] or 0)
    except sqlite3.OperationalError:
        return 0


def printed_parts(text: str) -> Any:
    """Yield the part numbers of complete inspection records."""
    for line in text.splitlines():
        if line.startswith('{"type": "inspection"') and line.endswith("}"):
            yield json.loads(line)["part"]


def damage(path: Path, life: Life) -> Counter[str]:
    """Return what the store lacks after a kill; opening it repairs nothing by itself."""
    if not path.exists():
        return Counter(lost=life.seen)
    with closing(sqlite3.connect(path)) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            return Counter(lost=life.seen)
        intact = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        kept = connection.execute("SELECT count(*) FROM events WHERE seq <= ?", (life.seen,))
        half = connection.execute(
            "SELECT count(*) FROM events WHERE type = 'reject' AND (part IS NULL OR "
            "time_utc IS NULL OR camera IS NULL OR score IS NULL OR json_valid(regions) IS NOT 1)"
        )
        return Counter(
            damaged=int(not intact), lost=life.seen - kept.fetchone()[0], half=half.fetchone()[0]
        )


def kill_often(kills: int, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the counts of all lives, and the moments of the kills."""
    rng, counts, highest = random.Random(seed), Counter[str](), 0
    moments = [
        (rng.uniform(0, AFTER_EVENT_S if number % 3 else AFTER_COMMAND_S), number % 3 > 0)
        for number in range(kills)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "line"
        for number, (delay_s, from_event) in enumerate(moments):
            life = Life(folder, delay_s, from_event=from_event)
            counts["refused starts"] += life.code != -9
            counts["kills before the first verdict"] += not life.parts
            counts["repeated parts"] += sum(part <= highest for part in life.parts)
            highest = max([highest, *life.parts])
            counts += damage(folder / "line.db", life)
            print(f"{number + 1}/{kills}  seen {life.seen}  {dict(counts)}", file=sys.stderr)
        with Store(folder):
            pass
        counts += closing_counts(folder / "line.db")
    names = ("refused starts", "repeated parts", "lost", "damaged", "half", "alarms left open",
             "kills before the first verdict", "interruptions noted", "alarms",
             "events")  # fmt: skip
    figures = {"kills": kills} | {name.replace(" ", "_"): counts[name] for name in names}
    return figures, {"delays_s": [round(delay_s, 4) for delay_s, _ in moments]}


def closing_counts(path: Path) -> Counter[str]:
    """Count alarms, and those that a restart has not ended, in the store of all lives."""
    with closing(sqlite3.connect(path)) as connection:

        def count(what: str) -> int:
            return int(connection.execute(f"SELECT count({what}").fetchone()[0])

        ended = "SELECT alarm FROM events WHERE type = 'alarm' AND step = 'end'"
        return Counter(
            {
                "events": count("*) FROM events"),
                "alarms": count("DISTINCT alarm) FROM events WHERE type = 'alarm'"),
                "alarms left open": count(
                    f"DISTINCT alarm) FROM events WHERE type = 'alarm' AND alarm NOT IN ({ended})"
                ),
                "interruptions noted": count("*) FROM events WHERE reason LIKE 'after an inter%'"),
            }
        )


def event(part: int) -> StoreEvent:
    region = Region(20, 8, 12, 12, 144, 0.98, (26, 14))
    return StoreEvent(
        EventType.REJECT, camera="top", part=part, frame=part, verdict="REJECT", score=0.9,
        threshold=0.5, regions=(region,),
    )  # fmt: skip


def record_many(count: int) -> tuple[dict[str, Any], list[float]]:
    """Return what an event costs the thread that records it and the store, which also by 10 000."""
    with tempfile.TemporaryDirectory() as name, Store(Path(name)) as store:
        times = np.full(count, np.nan)  # grows no more: the memory measured is the store's
        marks, sizes = [time.perf_counter()], [resident_mib()]
        for part in range(count):
            while len(store_queue(store)) > 5_000:  # the disk is slower than this loop
                time.sleep(0.001)
            began = time.perf_counter()
            store.record(event(part))
            times[part] = time.perf_counter() - began
            if (part + 1) % _TAIL == 0:
                marks.append(time.perf_counter())
                sizes.append(resident_mib())
        lost = store.lost
    spans = np.diff(marks) / _TAIL * 1e6
    figures = {
        "events": count,
        "lost": lost,
        "record_us_p50": round(float(np.percentile(times, 50)) * 1e6, 1),
        "record_us_p99": round(float(np.percentile(times, 99)) * 1e6, 1),
        "store_us_early": round(float(spans[1]), 1),  # the first ones only fill the queue
        "store_us_late": round(float(spans[-1]), 1),
        "memory_growth_mib": round(sizes[-1] - sizes[1], 2),
    }
    return figures, np.round(spans, 1).tolist()


def store_queue(store: Store) -> Any:
    return store._writer._jobs


def commit_ms(count: int = 1_000) -> list[float]:
    """Return the times from recording an event to its commit, one by one on an idle store."""
    committed = threading.Event()
    times = []
    with tempfile.TemporaryDirectory() as name, Store(Path(name)) as store:
        store.committed.append(committed.set)
        store.record(event(0))
        time.sleep(1)
        for part in range(count):
            committed.clear()
            began = time.perf_counter()
            store.record(event(part))
            committed.wait()
            times.append(round((time.perf_counter() - began) * 1e3, 3))
            time.sleep(0.005)
    return times


def sync_ms(count: int = 1_000) -> list[float]:
    """Return what the disk alone takes to keep 4 KiB: no commit can be faster."""
    times = []
    with tempfile.NamedTemporaryFile(buffering=0) as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append(round((time.perf_counter() - began) * 1e3, 3))
            time.sleep(0.005)
    return times


def measure_events(count: int) -> None:
    """Write what an event costs."""
    load = os.getloadavg()[0]
    samples = {"sync_ms": sync_ms(), "commit_ms": commit_ms()}
    figures, spans = record_many(count)
    for name, times in samples.items():
        for share in (50, 99):
            figures[f"{name}_p{share}"] = round(float(np.percentile(times, share)), 2)
    path = write_result(
        "store",
        "events",
        "all",
        metrics=figures,
        settings={"load_average": round(load, 1), "cores": os.cpu_count()},
        samples=samples | {"store_us": spans},
    )
    print(path, json.dumps(figures))


def measure_kills(kills: int, seed: int) -> None:
    """Write what is lost by kills."""
    figures, samples = kill_often(kills, seed)
    latest_s = {"after_command": AFTER_COMMAND_S, "after_event": AFTER_EVENT_S}
    settings = {"seed": seed, "latest_s": latest_s}
    path = write_result("store", "kill", "all", metrics=figures, settings=settings, samples=samples)
    print(path, json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.events:
        measure_events(given.events)
    if given.kills:
        measure_kills(given.kills, given.seed)


if __name__ == "__main__":
    main()
