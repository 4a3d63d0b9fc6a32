"""`rejudge --ray` on a real cluster of two nodes on this machine. Slow: a node takes seconds."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from edge_ad.errors import UsageError
from edge_ad.rejudge import job as job_module
from edge_ad.rejudge.job import RejudgeJob
from edge_ad.rejudge.session import RejudgeConfig
from tests.rejudge.archives import IMAGES, rows, run_session

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


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Start a head with one core; the nodes end with the test."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield started
    started.shutdown()


def test_a_node_that_is_killed_half_way_loses_and_doubles_nothing(
    cluster: Any, make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    second = cluster.add_node(num_cpus=1)
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
    with pytest.raises(UsageError, match="the Ray cluster has 1 CPU cores"):
        run_session(RejudgeConfig(**{**vars(config), "ray": cluster.address}))
    with pytest.raises(UsageError, match="no Ray cluster there"):
        run_session(RejudgeConfig(**{**vars(config), "ray": "127.0.0.1:1"}))
