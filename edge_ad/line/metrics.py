"""Serve the counts of a line to Prometheus, over HTTP.

A scrape reads what the line has counted: it takes no lock that the line takes, and a slow reader
holds one of a few threads for ten seconds at most.
"""

from __future__ import annotations

import contextlib
import shutil
import socketserver
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from edge_ad.address import listen_address
from edge_ad.engine.lasting import LastingEngine
from edge_ad.errors import EdgeAdError, MissingExtra, OutletLost
from edge_ad.event import AlarmEvent, AlarmStep
from edge_ad.inspection import Inspection
from edge_ad.line.supervisor import Supervisor
from edge_ad.machine.gpu import read_gpu_load
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.store.outbox import read_outbox
from edge_ad.store.store import Store

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_MOST_READERS = 8
_READER_TIMEOUT_S = 10.0


def check_metrics(address: str) -> tuple[str, int]:
    """Return host and port. Raises UsageError for no address, MissingExtra without the package."""
    host, port = listen_address(address)
    if not find_spec("prometheus_client"):
        raise MissingExtra("--metrics", "prometheus-client", "metrics")
    return host, port


class MetricsServer(Outlet):
    """Counts inspections and alarms, and serves them with the state of the line.

    Raises MissingExtra without prometheus-client, OutletLost when the address cannot be had.
    """

    def __init__(self, address: str, line: Supervisor) -> None:
        host, port = check_metrics(address)
        from prometheus_client import CollectorRegistry, make_wsgi_app

        self._counts = LineCounts(line)
        registry = CollectorRegistry()
        registry.register(self._counts)
        try:
            self._server = _Server(host, port)
        except OSError as error:
            raise OutletLost(
                f"metrics cannot be served at {address} ({error.strerror or error})."
            ) from error
        self._server.set_app(make_wsgi_app(registry))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True
        )
        self._thread.start()

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        self._counts.inspected(inspection)

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        self._counts.alarmed(event)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)


class LineCounts:
    """What a scrape returns: its own counts, and what cameras, store and GPU say at that moment."""

    def __init__(self, line: Supervisor) -> None:
        self._line = line
        self._verdicts: Counter[tuple[str, str]] = Counter()
        self._alarms: Counter[tuple[str, str]] = Counter()
        self._latency: dict[str, list[float]] = {}  # counts by bucket, then their sum

    def inspected(self, inspection: Inspection) -> None:
        """Count a frame."""
        camera = inspection.camera
        self._verdicts[camera, inspection.verdict.value] += 1
        if inspection.latency_s and not inspection.missed_triggers:
            counts = self._latency.setdefault(camera, [0.0] * (len(_BUCKETS_S) + 2))
            counts[bisect_left(_BUCKETS_S, inspection.latency_s)] += 1
            counts[-1] += inspection.latency_s

    def alarmed(self, event: AlarmEvent) -> None:
        """Count an alarm at its first step."""
        if event.event is AlarmStep.NEW:
            self._alarms[event.camera, event.kind.value] += 1

    def describe(self) -> list[Metric]:
        """Return nothing: registering a collector asks for its metrics otherwise."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield from self._frames()
        yield from self._cameras()
        yield from self._losses()
        if self._line.store is not None:
            yield from self._store(self._line.store)
        yield from self._gpu()

    def _frames(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import HistogramMetricFamily

        yield _counter("frames", "Frames by verdict.", ("camera", "verdict"), dict(self._verdicts))
        latency = HistogramMetricFamily(
            "edge_ad_latency_seconds",
            "From a live frame's capture, or a file's turn, to its verdict.",
            labels=("camera",),
        )
        for camera, counts in dict(self._latency).items():
            *by_bucket, total = list(counts)
            bounds = [*map(str, _BUCKETS_S), "+Inf"]
            cumulative = [sum(by_bucket[: at + 1]) for at in range(len(bounds))]
            buckets = list(zip(bounds, cumulative, strict=True))
            latency.add_metric((camera,), buckets, sum_value=total)
        yield latency
        yield _counter("alarms", "Alarms by kind.", ("camera", "kind"), dict(self._alarms))

    def _cameras(self) -> Iterator[Metric]:
        cameras = self._line.cameras
        dropped = {(name,): count for name, count in self._line.dropped().items()}
        yield _counter("dropped", "Frames that a newer one replaced.", ("camera",), dropped)
        reopened = {(camera.name,): camera.reopened for camera in cameras}
        yield _counter("reconnects", "Times a camera was opened again.", ("camera",), reopened)
        up = {(camera.name,): float(not camera.alarm.has_fault) for camera in cameras}
        yield _gauge("camera_up", "1 without, 0 with a camera fault.", ("camera",), up)
        paused = {(camera.name,): float(camera.pause.on) for camera in cameras}
        yield _gauge("camera_paused", "1 while a person has paused it.", ("camera",), paused)
        missed = {(name,): trigger.counts.missed for name, trigger in self._line.triggers.items()}
        yield _counter("missed_triggers", "Triggers without a verdict.", ("camera",), missed)

    def _losses(self) -> Iterator[Metric]:
        faults = {(reason,): count for reason, count in dict(self._line.outlets.faults).items()}
        yield _counter("lost_records", "Records an outlet did not take.", ("reason",), faults)
        lasting = [engine for engine in self._line.engines if isinstance(engine, LastingEngine)]
        reopened = {(): sum(engine.reopenings for engine in lasting)}
        yield _counter("engine_reopenings", "Times the GPU failed.", (), reopened)

    def _store(self, store: Store) -> Iterator[Metric]:
        files = (store.path, store.path.with_name(f"{store.path.name}-wal"))
        size = 0
        for file in files:
            with contextlib.suppress(OSError):
                size += file.stat().st_size
        yield _gauge("store_bytes", "Size of line.db and its log.", (), {(): size})
        yield _gauge("store_queued", "Records not written yet.", (), {(): store.queued})
        yield _gauge("store_writable", "0 while it cannot.", (), {(): float(not store.problem)})
        yield _counter("lost_events", "Events the store could not keep.", (), {(): store.lost})
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(store.path.parent).free
            yield _gauge("disk_free_bytes", "Free in the output folder.", (), {(): free})
        with contextlib.suppress(EdgeAdError):  # a locked disk says so above
            waiting = {
                (state["outlet"],): state["waiting"] for state in read_outbox(store.path.parent)
            }
            yield _gauge("outbox_waiting", "Events not delivered yet.", ("outlet",), waiting)

    def _gpu(self) -> Iterator[Metric]:
        if any(isinstance(engine, LastingEngine) for engine in self._line.engines):
            for name, text, value in read_gpu_load():
                yield _gauge(f"gpu_{name}", text, (), {(): value})


_Values = Mapping[Any, float]  # by the labels' values, a tuple


def _counter(name: str, text: str, labels: tuple[str, ...], values: _Values) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily

    metric = CounterMetricFamily(f"edge_ad_{name}", text, labels=labels)
    for of, value in values.items():
        metric.add_metric(of, value)
    return metric


def _gauge(name: str, text: str, labels: tuple[str, ...], values: _Values) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    metric = GaugeMetricFamily(f"edge_ad_{name}", text, labels=labels)
    for of, value in values.items():
        metric.add_metric(of, value)
    return metric


class _Handler(WSGIRequestHandler):
    """Answers one request and is silent about it."""

    timeout = _READER_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Serves a few readers at once; further ones are turned away."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = _family(host)
        self._free = threading.BoundedSemaphore(_MOST_READERS)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking a name server who this is, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about a reader that left."""


def _family(host: str) -> Any:
    import socket

    return socket.AF_INET6 if ":" in host else socket.AF_INET
