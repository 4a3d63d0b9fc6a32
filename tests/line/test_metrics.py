"""Metrics as Prometheus reads them, from a line that runs."""

from __future__ import annotations

import math
import os
import re
import select
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families

from edge_ad.engine.lasting import LastingEngine
from edge_ad.errors import OutletLost
from edge_ad.inspection import Inspection, Verdict
from edge_ad.line import metrics
from edge_ad.line.config import LineConfig
from edge_ad.line.metrics import LineCounts, MetricsServer
from edge_ad.line.open import open_line
from edge_ad.line.supervisor import Supervisor
from edge_ad.machine.gpu import _LOAD, read_gpu_load
from edge_ad.outlet.base import Evidence
from edge_ad.store.store import Store
from tests.conftest import ROOT, invoke
from tests.timing import LIMIT_S, wait_until

MakePath = Callable[..., Path]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(port: int) -> Samples:
    """Return the samples of one scrape, read by Prometheus' own parser."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT_S) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def line(make_engine: MakePath, make_folder: MakePath, tmp_path: Path) -> Iterator[Supervisor]:
    """Yield a line with a store over 12 images, three of them rejected."""
    parts = make_folder("parts", 12, bright=(4, 5, 6))
    (tmp_path / "out").mkdir()
    with open_line(LineConfig((f"top={parts}",), make_engine())) as opened:
        opened.use_store(Store(tmp_path / "out"))
        yield opened


def test_a_scrape_has_the_counts_of_the_line(line: Supervisor) -> None:
    server = MetricsServer("127.0.0.1:0", line)
    line.outlets.add(server)
    line.start()
    assert line.wait(LIMIT_S)
    missed = Inspection(Verdict.INVALID, math.nan, 0.5, camera="side", missed_triggers=1)
    server.inspected(replace(missed, latency_s=1.0), Evidence())
    samples = scrape(server.port)
    assert ("edge_ad_latency_seconds_count", (("camera", "side"),)) not in samples
    top = ("camera", "top")
    assert samples["edge_ad_frames_total", (top, ("verdict", "PASS"))] == 9
    assert samples["edge_ad_frames_total", (top, ("verdict", "REJECT"))] == 3
    assert samples["edge_ad_alarms_total", (top, ("kind", "defect"))] == 1
    assert samples["edge_ad_latency_seconds_count", (top,)] == 12
    assert samples["edge_ad_latency_seconds_bucket", (top, ("le", "+Inf"))] == 12
    assert 0 < samples["edge_ad_latency_seconds_sum", (top,)] < 60
    for name in ("dropped_total", "reconnects_total"):
        assert samples[f"edge_ad_{name}", (top,)] == 0
    assert samples["edge_ad_camera_up", (top,)] == 1
    assert samples["edge_ad_camera_paused", (top,)] == 0
    assert samples["edge_ad_store_writable", ()] == 1
    assert samples["edge_ad_lost_events_total", ()] == 0
    assert samples["edge_ad_store_bytes", ()] > 4096
    assert samples["edge_ad_disk_free_bytes", ()] > 0
    line.finish()
    with pytest.raises(urllib.error.URLError):
        scrape(server.port)


def test_the_guide_names_every_metric(line: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        metrics, "read_gpu_load", lambda: [(*about, 1.0) for about in _LOAD.values()]
    )
    (engine,) = line.engines
    line.engines = [LastingEngine(lambda: engine)]
    served = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in LineCounts(line).collect()
    }
    guide = (ROOT / "docs" / "guides" / "service.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(edge_ad_\w+)`", guide)) == served


def test_readers_that_read_nothing_keep_neither_the_line_nor_another_reader(
    line: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_MOST_READERS", 3)
    monkeypatch.setattr(metrics._Handler, "timeout", 300.0)
    server = MetricsServer("127.0.0.1:0", line)
    line.outlets.add(server)
    before = threading.active_count()
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
    for connection in slow:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n")  # and never the rest
    line.start()
    assert line.wait(LIMIT_S)
    assert scrape(server.port)
    more = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
    waiting = list(more)
    while len(waiting) > 1:  # one may have found the third place
        turned_away, _, _ = select.select(waiting, [], [])
        assert [connection.recv(1) for connection in turned_away] == [b""] * len(turned_away)
        waiting = [connection for connection in waiting if connection not in turned_away]
    wait_until(lambda: threading.active_count() <= before + 3)
    for connection in slow + more:
        connection.close()
    line.finish()


def test_an_address_in_use_is_refused(line: Supervisor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OutletLost, match=r"metrics cannot be served.*in use"):
            MetricsServer(f"127.0.0.1:{taken.getsockname()[1]}", line)


def test_a_refused_address_leaves_no_folder(
    make_engine: MakePath, make_folder: MakePath, tmp_path: Path
) -> None:
    words = ("--camera", make_folder("x", 1), "--engine", make_engine(), "-o", tmp_path / "new")
    done = invoke("run", *words, "--metrics", "here")
    assert done.returncode == 2 and "'here' is not an address" in done.stderr
    assert not (tmp_path / "new").exists()


def test_the_gpu_is_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '37, 1234, 51'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert [value for _, _, value in read_gpu_load()] == [37.0, 1234.0, 51.0]
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert read_gpu_load() == []


def test_a_line_without_a_store_has_no_figures_of_one(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    with open_line(LineConfig((str(make_folder("parts", 1)),), make_engine())) as line:
        names = {metric.name for metric in LineCounts(line).collect()}
    assert "edge_ad_frames" in names and "edge_ad_store_bytes" not in names


def test_check_finds_a_wrong_address(make_engine: MakePath) -> None:
    done = invoke("run", "--camera", "0", "--engine", make_engine(), "--check", "--metrics", "x")
    assert done.returncode == 2 and "'x' is not an address" in done.stdout + done.stderr


def test_check_finds_that_the_package_is_missing(
    make_engine: MakePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.line.metrics.find_spec", lambda _: None)
    words = ("--camera", "pattern://", "--engine", make_engine(), "--metrics", "9464", "--check")

    done = invoke("run", *words)

    assert done.returncode == 3 and "edge-ad[metrics]" in done.stderr
