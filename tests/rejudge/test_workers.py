"""Several processes, and processes that are killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from edge_ad.errors import EdgeAdError
from edge_ad.rejudge import job as job_module
from edge_ad.rejudge.job import RejudgeJob
from edge_ad.rejudge.session import RejudgeConfig
from tests.conftest import edge_ad
from tests.rejudge.archives import IMAGES, rows, run_session

MakePath = Callable[..., Path]


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
def test_workers_give_the_same_rows_and_one_that_dies_ends_the_job(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    engine = make_engine("mean.onnx", score="mean")
    run_session(RejudgeConfig(engine, archive, tmp_path / "one.parquet"))
    config = RejudgeConfig(engine, archive, tmp_path / "two.parquet", workers=2)
    store = RejudgeJob.store

    def killing(self: RejudgeJob, index: int, table: Any) -> None:
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()
        store(self, index, table)

    with (
        mock.patch.object(job_module, "_PART_IMAGES", 1),
        mock.patch.object(RejudgeJob, "store", killing),
        pytest.raises(EdgeAdError, match=r"a worker ended with code -9 .* same command"),
    ):
        run_session(config)
    summary = run_session(config)
    assert summary is not None and 1 <= summary["judged_before"] < IMAGES
    assert rows(tmp_path / "one.parquet") == rows(tmp_path / "two.parquet")


@pytest.mark.slow
def test_a_killed_job_goes_on(make_engine: MakePath, archive: Path, tmp_path: Path) -> None:
    """Kill -9 the process once its first part is written."""
    many = tmp_path / "list.txt"
    for index in range(200):
        os.link(archive / "monday" / f"{index % 4}.png", archive / f"copy-{index}.png")
    many.write_text("\n".join(sorted(str(path) for path in archive.rglob("*.png"))))
    command = ["rejudge", "--engine", make_engine(), "--images", many, "--threads", "1",
               "-o", tmp_path / "r.parquet"]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "edge_ad", *map(str, command)])
    while process.poll() is None and not list(tmp_path.glob("r.parquet.parts/part-*")):
        threading.Event().wait(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = edge_ad(*command, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 200 + IMAGES
    paths = [row["path"] for row in rows(tmp_path / "r.parquet")]
    assert paths == many.read_text().splitlines()
