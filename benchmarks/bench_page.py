"""Measure how fast the operator's page finds things in a week of a busy line.

    python benchmarks/bench_page.py [--events 100000] [--cameras 8] [--repeats 5]

A store is filled with a week of minutes of each camera and with rejected parts, alarms and marks.
Each question of the page is then asked with an empty cache of prepared statements: a list by
camera, time, kind, size, mark and part, its second page, one event with its neighbours, what
another threshold would have rejected, and trends by hour and by minute. The figures are this
process's time on the processor, which other programs on the machine hardly change; the raw samples
have the wall's time beside it.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from statistics import median

from results import write_result  # the script's own folder is on the path

from edge_ad.clock import as_utc
from edge_ad.store.reading import EventFilter
from edge_ad.store.schema import DATABASE, connect, create
from edge_ad.store.search import EventSearch, find_event, find_events
from edge_ad.store.statistics import score_bin
from edge_ad.store.trends import read_trend
from edge_ad.store.what_if import ScoreHistory, what_if

_MINUTES = 7 * 24 * 60
_THRESHOLD = 0.5
_REGION = {"x": 10, "y": 20, "width": 30, "height": 40, "peak": 0.9, "peak_xy": [12, 24]}
_EVENT = (
    "INSERT INTO events (type, step, kind, alarm, camera, part, frame, time_utc, verdict, score, "
    "threshold, regions, area_px, evidence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def fill(folder: Path, events: int, cameras: int, now: datetime) -> None:
    """Write a week that ends now: minutes of statistics, rejects and alarms, and some marks."""
    create(folder / DATABASE)
    connection = connect(folder / DATABASE)
    draw, names = random.Random(0), [f"camera {number}" for number in range(cameras)]
    began = now - timedelta(minutes=_MINUTES)
    connection.execute("BEGIN")
    for number in range(events):
        moment = began + timedelta(minutes=_MINUTES * number / events)
        connection.execute(_EVENT, _event(draw, number, as_utc(moment), draw.choice(names)))
    connection.execute(
        "INSERT INTO events (type, step, who, refers, part, time_utc) "
        "SELECT 'mark', iif(seq % 3, 'real', 'false-alarm'), 'somebody', seq, part, ? "
        "FROM events WHERE type = 'reject' AND seq % 50 = 0",
        (as_utc(now),),
    )
    for minute in range(_MINUTES):
        for name in names:
            _minute(connection, draw, began + timedelta(minutes=minute), name)
    connection.execute("COMMIT")
    connection.close()


def _event(draw: random.Random, number: int, when: str, camera: str) -> tuple[object, ...]:
    score = _THRESHOLD * (1 + draw.expovariate(2))
    areas = [draw.randrange(4, 4000) for _ in range(draw.randrange(1, 4))]
    regions = [_REGION | {"area_px": area} for area in areas]
    about = (camera, number, number, when, "REJECT", score, _THRESHOLD, json.dumps(regions))
    evidence = (max(areas), f"evidence/part-{number:08d}.jpg")
    if number % 10:
        return ("reject", None, None, None, *about, *evidence)
    return ("alarm", "new", "defect", f"alarm-{number}", *about, *evidence)


def _minute(
    connection: sqlite3.Connection, draw: random.Random, moment: datetime, camera: str
) -> None:
    scores = Counter(score_bin(draw.gauss(0.3, 0.05)) for _ in range(60))
    latency = json.dumps({"p50": 12.0, "p95": 15.0, "p99": 17.0, "max": 21.0})
    counted = json.dumps({str(number): count for number, count in sorted(scores.items())})
    row = (as_utc(moment)[:16] + "Z", camera, 3600, 1, 0, 0, counted, latency, 80.0, 40.0)
    connection.execute("INSERT INTO statistics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def questions(folder: Path, now: datetime) -> dict[str, Callable[[], object]]:
    """Return what the page asks, by name."""
    week, day = as_utc(now - timedelta(days=7)), as_utc(now - timedelta(days=1))
    until = as_utc(now + timedelta(minutes=1))
    one = EventFilter(cameras=("camera 3",))
    searches = {
        "all": EventSearch(),
        "by camera": EventSearch(one),
        "by time": EventSearch(EventFilter(since=day, until=until)),
        "by kind": EventSearch(EventFilter(types=("defect",))),
        "by size": EventSearch(min_area_px=3900),
        "by size, none": EventSearch(min_area_px=1_000_000),
        "by mark": EventSearch(noted="false-alarm"),
        "unmarked": EventSearch(EventFilter(cameras=("camera 3",), types=("reject",)), "unmarked"),
        "by part": EventSearch(part=77_777),
        "by all": EventSearch(
            EventFilter(("camera 3",), ("reject",), week, until), "unmarked", 2000
        ),
    }
    asked: dict[str, Callable[[], object]] = {
        f"events {name}": partial(find_events, folder, search) for name, search in searches.items()
    }
    asked["events, page in the middle"] = lambda: find_events(folder, EventSearch(), before=50_000)
    asked["one event"] = lambda: find_event(folder, 50_001, EventSearch(one))
    asked["threshold, a week of one camera"] = lambda: what_if(
        ScoreHistory.read(folder, "camera 3", week, until), 0.6
    )
    asked["trend of a day, minutes"] = lambda: read_trend(folder, "camera 3", day, until, 15)
    asked["trend of a week, hours"] = lambda: read_trend(folder, "", week, until, 60)
    return asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    now = datetime.now(timezone.utc)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder, options.events, options.cameras, now)
        samples = {
            asked: [_timed(ask) for _ in range(options.repeats)]
            for asked, ask in questions(folder, now).items()
        }
        size_mib = (folder / DATABASE).stat().st_size / 2**20
    metrics = {
        f"{asked}, processor ms": round(median(pair[0] for pair in pairs), 1)
        for asked, pairs in samples.items()
    }
    for asked, value in metrics.items():
        print(f"{value:8.1f}  {asked}")
    path = write_result(
        "page",
        "questions",
        "all",
        metrics=metrics | {"database, MiB": round(size_mib, 1)},
        settings=vars(options),
        samples=samples,
    )
    print(path)


def _timed(ask: Callable[[], object]) -> tuple[float, float]:
    """Return the processor's and the wall's time for a question, in ms."""
    began, processor = time.perf_counter(), time.process_time()
    ask()
    used, passed = time.process_time() - processor, time.perf_counter() - began
    return round(used * 1e3, 2), round(passed * 1e3, 2)


if __name__ == "__main__":
    main()
