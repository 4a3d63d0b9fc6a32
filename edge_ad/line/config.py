"""A line put together: cameras, one engine, thresholds, alarm rule, sinks.

with open_line(LineConfig(cameras=("0",), engine=Path("destseg.onnx")), sinks) as line:
    line.start()
    line.wait(timeout_s=60)
    print(line.finish())
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from edge_ad.engine import Batcher, Engine, EngineOptions, open_engine
from edge_ad.errors import UsageError
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.line.alarm import Alarm, AlarmRule
from edge_ad.line.inspector import Inspector, Thresholds
from edge_ad.line.loop import Tally
from edge_ad.line.supervisor import Camera, Supervisor
from edge_ad.manifest import check_geometry, load_sidecar
from edge_ad.outlet.base import Outlet, Outlets
from edge_ad.source import open_source


@dataclass(frozen=True)
class LineConfig:
    """All that describes a line. None means: as stored with the engine.

    `geometry` names the parts that replace those of the engine's training: any of `roi_xywh`,
    `ignore`, `tiles` and `overlap`.
    """

    cameras: tuple[str, ...]
    engine: Path
    geometry: Mapping[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    pixel_threshold: float | None = None
    rule: AlarmRule = field(default_factory=AlarmRule)
    frames: int = 0
    timeout_s: float = 10.0
    reopen_for_s: float = 60.0
    engine_options: EngineOptions = field(default_factory=EngineOptions)

    def open_engine(self) -> Engine:
        """Load and warm up the engine."""
        return open_engine(self.engine, self.engine_options)


@contextmanager
def open_line(
    config: LineConfig, outlets: list[Outlet], stop: threading.Event | None = None
) -> Iterator[Supervisor]:
    """Load the engine, open every camera, and yield the line ready to start.

    Raises what `open_engine`, `load_sidecar` and `open_source` raise, before anything is judged.
    """
    with ExitStack() as stack:
        engine = stack.enter_context(config.open_engine())
        trained = engine.manifest.geometry
        geometry = trained.changed(config.geometry)
        limits = stored_limits(config, geometry, trained)
        shared = _Shared(Batcher(engine), limits, geometry)
        cameras = [_open_camera(uri, config, shared, stack) for uri in config.cameras]
        stop = stop if stop else threading.Event()
        line = Supervisor(cameras, Outlets(outlets), config.reopen_for_s, stop)
        stack.callback(line.halt)
        yield line


@dataclass
class _Shared:
    """What all cameras of a line have in common."""

    batcher: Batcher
    limits: Thresholds
    geometry: Geometry
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    began: str = field(
        default_factory=lambda: datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    )

    def next_id(self) -> str:
        """An alarm's id: unique over runs by when they began, within a run by its number."""
        return f"{self.began}-{next(self.numbers):04d}"


def stored_limits(config: LineConfig, geometry: Geometry, trained: Geometry) -> Thresholds:
    """The thresholds stored beside the engine, or those given in their place.

    A lone image threshold, without stored ones, outlines regions too: both have the map's unit.
    Raises UsageError when there is none, IncompatibleError when the stored one was set under
    another geometry than the line's.
    """
    sidecar = load_sidecar(config.engine)
    stored = sidecar.threshold if sidecar else None
    image, pixel = config.threshold, config.pixel_threshold
    if image is None:
        if stored is None:
            raise UsageError(
                f"{config.engine} has no threshold yet. Set one from images of good parts with: "
                f"edge-ad threshold {config.engine} --images GOOD_DIR  (or give --threshold)"
            )
        check_geometry(config.engine, stored, geometry, trained)
        image = stored.image
    if pixel is None:
        pixel = stored.pixel if stored else image
    return Thresholds(image, pixel)


def _open_camera(uri: str, config: LineConfig, shared: _Shared, stack: ExitStack) -> Camera:
    alarm = Alarm(config.rule, shared.next_id)  # a bad rule is told before a camera is held
    reopen = partial(open_source, uri, timeout_s=config.timeout_s)
    source = stack.enter_context(reopen())
    alone = len(config.cameras) == 1
    judge = Inspector(
        shared.batcher.engine if alone else shared.batcher.client(),
        shared.limits,
        FrameGate(live=source.live),
        geometry=shared.geometry,
        overlap=alone and not source.live,  # live: the newest frame, at once
    )
    return Camera(source, reopen, judge, alarm, Tally(frames_wanted=config.frames))
