"""`rejudge --ray` on a real cluster of two nodes on this machine. Slow: a node takes seconds."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from edge_ad.errors import UsageError
from edge_ad.rejudge import job as job_module
from edge_ad.rejudge.job import RejudgeJob
from edge_ad.rejudge.session import RejudgeConfig
from tests.control.lines import wait_for
from tests.rejudge.archives import IMAGES, rows, run_session
from tests.rejudge.processes import LOOPBACK, descendants, is_alive, listeners

if importlib.util.find_spec("ray") is None:
    pytest.skip(
        "Ray is not installed (edge-ad[ray] takes a minute and 500 MB): pip install 'edge-ad[ray]'",
        allow_module_level=True,
    )

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]
MakePath = Callable[..., Path]
LIMIT_S = 120.0
NODE = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start a head with one core; the nodes end with the test."""
    # before Ray is imported: servers on 127.0.0.1 only, and no worker killed when memory runs short
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_memory_monitor_refresh_ms": "0",
    }
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args=NODE)
    yield started
    started.shutdown()


def test_a_node_that_is_killed_half_way_loses_and_doubles_nothing(
    cluster: Any, make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    second = cluster.add_node(**NODE)
    paths = [archive / "monday" / f"{index % 4}.png" for index in range(200)]
    links = [archive / f"copy-{index:03d}.png" for index in range(200)]
    for path, link in zip(paths, links, strict=True):
        os.link(path, link)
    engine = make_engine("mean.onnx", score="mean")
    config = RejudgeConfig(
        engine, archive, tmp_path / "ray.parquet", workers=2, ray=cluster.address
    )
    store, stored = RejudgeJob.store, list[int]()

    def killing(self: RejudgeJob, index: int, table: Any) -> None:
        stored.append(index)
        if len(stored) == 25:
            cluster.remove_node(second, allow_graceful=False)
        store(self, index, table)

    with (
        mock.patch.object(job_module, "_PART_IMAGES", 4),
        mock.patch.object(RejudgeJob, "store", killing),
    ):
        summary = run_session(config)
    assert summary is not None and summary["judged_now"] == 200 + IMAGES
    assert len(stored) == len(set(stored)) == 52
    run_session(RejudgeConfig(engine, archive, tmp_path / "here.parquet"))
    assert rows(tmp_path / "ray.parquet") == rows(tmp_path / "here.parquet"), "bit for bit"


def test_a_cluster_that_is_not_there_or_too_small_is_refused(
    cluster: Any, make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    config = RejudgeConfig(make_engine(), archive, tmp_path / "r.parquet", workers=9)
    with pytest.raises(UsageError, match="the Ray cluster has 1 CPU core, and"):
        run_session(RejudgeConfig(**{**vars(config), "ray": cluster.address}))
    with pytest.raises(UsageError, match="no Ray cluster there"):
        run_session(RejudgeConfig(**{**vars(config), "ray": "127.0.0.1:1"}))


def test_a_cluster_for_one_job_listens_here_only_and_ends_with_the_job(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    """SIGTERM finishes as without Ray, whose own handler ends the process without a word."""
    command = [sys.executable, "-m", "edge_ad", "rejudge", "--ray", "local", "--images"]
    command += [str(archive), "--engine", str(make_engine()), "-o", str(tmp_path / "r.parquet")]
    addresses, started = set[str](), dict[int, str]()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        while running.poll() is None and not any(map(listeners, named(started, "raylet"))):
            time.sleep(0.05)
            started |= descendants(running.pid)
            addresses |= {address for pid in started for address in listeners(pid)}
        running.terminate()
        _, stderr = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 130, stderr
    assert "interrupted; the same command continues" in stderr
    assert addresses and addresses <= LOOPBACK
    # Ray's agents look for their raylet now and then, and end a minute later
    servers = [*named(started, "raylet"), *named(started, "gcs_server")]
    wait_for(lambda: not any(map(is_alive, servers)))


def named(processes: dict[int, str], name: str) -> list[int]:
    return [pid for pid, other in processes.items() if other == name]
