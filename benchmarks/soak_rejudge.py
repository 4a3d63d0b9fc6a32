"""Kill `edge-ad rejudge` again and again, and count what is lost or doubled; time 1 and 2 workers.

    python benchmarks/soak_rejudge.py [--images 3000] [--kills 20] [--only killed|workers|ray]

The archive has small images, some of them damaged. Each process is killed (SIGKILL) at a random
moment, from its first part to the joining of all parts; then the same command goes on. In the end
the rows are compared with those of an undisturbed job. `ray` does the same with a cluster of
two nodes on this machine, of which one is killed half-way; it needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pyarrow.parquet as pq
from results import write_result  # the script's own folder is on the path

from edge_ad.files import sha256
from edge_ad.manifest import Sidecar, Threshold
from edge_ad.rejudge.job import RejudgeJob
from edge_ad.rejudge.session import RejudgeConfig, RejudgeSession
from edge_ad.sidecar import save_sidecar

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "tests" / "engines" / "mean-32-b1.onnx"
SAMPLE = ROOT / "edge_ad" / "sample" / "engine.onnx"
_DAMAGED_EVERY = 50
_LONGEST_S = 1.5  # from a new part to the kill


def make_archive(folder: Path, count: int, side: int = 64) -> Path:
    """Write images of noise, every fiftieth cut off."""
    rng = np.random.default_rng(0)
    for index in range(count):
        path = folder / f"{index % 10}" / f"{index:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(20, 60, (side, side, 3)).astype(np.uint8))
        if index % _DAMAGED_EVERY == 0:
            path.write_bytes(path.read_bytes()[:-200])
    return folder


def make_engine(folder: Path) -> Path:
    """Copy the engine of the tests, with a threshold that half of the images exceed."""
    engine = folder / "mean.onnx"
    engine.write_bytes(ENGINE.read_bytes())
    threshold = Threshold(
        image=0.155, pixel=0.155, false_alarm_rate=0.01, confidence=0.95, images=300
    )
    save_sidecar(engine, Sidecar(engine_sha256=sha256(engine), threshold=threshold))
    return engine


def command(engine: Path, archive: Path, output: Path, *more: object) -> list[str]:
    words = ("rejudge", "--engine", engine, "--images", archive, "-o", output, "--threads", 1)
    return [sys.executable, "-m", "edge_ad", *map(str, (*words, *more))]


def kill_once(words: list[str], output: Path, rng: random.Random) -> tuple[bool, int]:
    """Start the job, kill it after a new part; return whether it was killed, and its parts."""
    parts = output.with_name(f"{output.name}.parts")
    before = len(list(parts.glob("part-*")))
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list(parts.glob("part-*"))) <= before:
        time.sleep(0.002)
    until = time.monotonic() + rng.uniform(0, _LONGEST_S)
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    killed = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return killed, len(list(parts.glob("part-*")))


def measure_kills(folder: Path, count: int, kills: int, seed: int) -> None:
    engine, archive = make_engine(folder), make_archive(folder / "archive", count)
    subprocess.run(command(engine, archive, folder / "whole.parquet"), check=True)
    rng, killed, ended, parts = random.Random(seed), 0, 0, list[int]()
    output = folder / "killed.parquet"
    words = command(engine, archive, output)
    while killed < kills:
        one, left = kill_once(words, output, rng)
        killed += one
        parts.append(left)
        if output.exists():  # it ended before the kill, or was killed after joining
            ended += 1
            compare(folder, killed)
            output.unlink()
    done = subprocess.run([*words, "--json"], check=True, capture_output=True, text=True)
    metrics = compare(folder, killed) | {"kills": killed, "jobs finished": ended + 1}
    summary = json.loads(done.stdout)
    path = write_result(
        "rejudge", "killed", "all",
        metrics={key.replace(" ", "_"): value for key, value in metrics.items()},
        settings={"seed": seed, "images": count, "damaged_every": _DAMAGED_EVERY},
        samples={"parts_after_each_kill": parts, "last": {
            key: summary[key] for key in ("pass", "reject", "invalid", "judged_before")}},
    )  # fmt: skip
    print(path, json.dumps(metrics))


def compare(folder: Path, kills: int) -> dict[str, int]:
    """Count the rows of the killed job that are lost, doubled, or other than they should be."""
    whole, killed = (
        pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("whole", "killed")
    )
    paths = [row["path"] for row in killed]
    expected = {row["path"]: row for row in whole}
    counts = {
        "images": len(whole),
        "lost": len(expected.keys() - set(paths)),
        "doubled": len(paths) - len(set(paths)),
        "other answers": sum(expected.get(row["path"]) != row for row in killed),
    }
    print(f"after {kills} kills: {counts}", flush=True)
    return counts


def measure_workers(folder: Path, count: int) -> None:
    """Time a job of the shipped engine with one and two workers, in turn, three times."""
    archive = make_archive(folder / "large", count, side=512)
    rates: dict[str, list[float]] = {"1": [], "2": []}
    for _ in range(3):
        for workers in rates:
            output = folder / "timed.parquet"
            words = [
                *command(SAMPLE, archive, output, "--workers", workers, "--overwrite"),
                "--json",
            ]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            rates[workers].append(json.loads(done.stdout)["images_per_s"])
    best = {name: max(values) for name, values in rates.items()}
    metrics: dict[str, Any] = {
        "images_per_s_1_worker": best["1"],
        "images_per_s_2_workers": best["2"],
        "times_as_fast": round(best["2"] / best["1"], 3),
    }
    settings = {"images": count, "side_px": 512, "load_average": os.getloadavg()[0]}
    path = write_result(
        "rejudge", "workers", "fp32", metrics=metrics, settings=settings, samples=rates
    )
    print(path, json.dumps(metrics))


def measure_ray(folder: Path, count: int) -> None:
    """Judge on two nodes of a local Ray cluster, and kill one when half of the parts are stored."""
    from ray.cluster_utils import Cluster

    engine, archive = make_engine(folder), make_archive(folder / "archive", count)
    subprocess.run(command(engine, archive, folder / "whole.parquet"), check=True)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    store, stored = RejudgeJob.store, list[int]()

    def killing(job: RejudgeJob, index: int, table: Any) -> None:
        stored.append(index)
        if job.judged >= count // 2 and second.any_processes_alive():
            cluster.remove_node(second, allow_graceful=False)
        store(job, index, table)

    config = RejudgeConfig(
        engine, archive, folder / "killed.parquet", workers=2, ray=cluster.address
    )
    with mock.patch.object(RejudgeJob, "store", killing):
        summary = RejudgeSession(config, print, threading.Event()).run()
    assert summary is not None
    alive = second.any_processes_alive()
    cluster.shutdown()
    counts = compare(folder, int(not alive))
    path = write_result(
        "rejudge", "ray node killed", "all",
        metrics={key.replace(" ", "_"): value for key, value in counts.items()}
        | {"nodes": 2, "nodes_killed": int(not alive)},
        settings={"images": count, "ray": metadata.version("ray"), "damaged_every": _DAMAGED_EVERY},
        samples={"parts_in_order": stored, "seconds": summary["seconds"]},
    )  # fmt: skip
    print(path, json.dumps(counts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["killed", "workers", "ray"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.only in (None, "killed"):
            measure_kills(folder, given.images, given.kills, given.seed)
        if given.only in (None, "workers"):
            measure_workers(folder, given.images // 3)
        if given.only == "ray":
            measure_ray(folder, given.images)


if __name__ == "__main__":
    main()
