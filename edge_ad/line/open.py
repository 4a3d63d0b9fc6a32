"""Build a line from its configuration.

with open_line(LineConfig(cameras=("0",), engine=Path("destseg.onnx"))) as line:
    line.start()
    line.wait(timeout_s=60)
    print(line.finish())
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from edge_ad.engine import Batcher
from edge_ad.errors import UsageError
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.images import BitDepth, agreed_depth
from edge_ad.line.alarm import Alarm, PartRule
from edge_ad.line.config import LineConfig
from edge_ad.line.inspector import Inspector, Thresholds
from edge_ad.line.rate_check import RateCheck
from edge_ad.line.supervisor import Camera, Supervisor
from edge_ad.line.tally import Tally
from edge_ad.line.trigger import Trigger, TriggeredSource, TriggerLimits
from edge_ad.line.trigger_input import FREE, check_trigger, open_trigger
from edge_ad.manifest import check_geometry, load_sidecar
from edge_ad.outlet.base import Outlet, Outlets
from edge_ad.outlet.registry import open_outlet
from edge_ad.source import Source, open_source
from edge_ad.source.late import LateSource
from edge_ad.source.named import NamedSource, name_sources
from edge_ad.source.open import is_live, presence, waits
from edge_ad.uri import without_credentials

_OPEN_TOGETHER_S = 3.0  # a line with an absent camera starts this much later at most


@contextmanager
def open_line(
    config: LineConfig, outlets: Sequence[Outlet] = (), stop: threading.Event | None = None
) -> Iterator[Supervisor]:
    """Load the engine, open outlets and cameras, and yield the line ready to start.

    `outlets` are open ones besides those that `config` names; all are closed with the line. Raises
    what `open_engine`, `load_sidecar`, `open_outlet` and `open_source` raise, before any frame is
    inspected; a live camera that is absent is an error with `require_cameras` only.
    """
    sources = name_sources(config.cameras)
    _check_trigger(config, sources)
    with ExitStack() as stack:
        engine = stack.enter_context(config.open_engine())
        depth = agreed_depth(str(config.engine), engine.manifest.bit_depth, config.bit_depth)
        trained = engine.manifest.geometry
        geometry = trained.changed(config.geometry)
        thresholds = resolve_thresholds(
            config.engine, geometry, trained, config.threshold, config.pixel_threshold
        )
        shared = _Shared(Batcher(engine), thresholds, geometry, depth)
        stop = stop if stop else threading.Event()
        all_outlets = Outlets(outlets, stop)
        stack.callback(all_outlets.close)
        cameras = [_open_camera(named, config, shared, stack) for named in sources]
        _wait_for(cameras)
        for uri in config.outlets:
            all_outlets.add(open_outlet(uri))
        line = Supervisor(cameras, all_outlets, config.reopen_for_s, stop)
        stack.callback(line.halt)
        if line.triggers:
            stack.enter_context(open_trigger(config.trigger, list(line.triggers.values())))
        yield line


@dataclass
class _Shared:
    """The parts that all cameras of a line have in common."""

    batcher: Batcher
    thresholds: Thresholds
    geometry: Geometry
    depth: BitDepth | None
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    began: str = field(
        default_factory=lambda: datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%f")[:-3] + "Z"
    )

    def next_alarm_id(self) -> str:
        """Return an alarm id: the start of the run (UTC, to the ms) and a number within it."""
        return f"{self.began}-{next(self.numbers):04d}"


def resolve_thresholds(
    engine: Path,
    geometry: Geometry,
    trained: Geometry,
    image: float | None = None,
    pixel: float | None = None,
) -> Thresholds:
    """Return the given thresholds, completed with those stored beside the engine.

    An image threshold alone, with nothing stored, serves as pixel threshold too: both have the
    unit of the map. Raises UsageError when there is no threshold or it is not finite,
    IncompatibleError when the stored one was set under a geometry other than `geometry`.
    """
    if not all(math.isfinite(given) for given in (image, pixel) if given is not None):
        raise UsageError(f"a threshold is a finite number; got {image} and {pixel} for pixels.")
    sidecar = load_sidecar(engine)
    stored = sidecar.threshold if sidecar else None
    if image is None:
        if stored is None:
            raise UsageError(
                f"{engine} has no threshold yet. Set one from images of good parts with: "
                f"edge-ad threshold {engine} --images GOOD_DIR  (or give --threshold)"
            )
        check_geometry(engine, stored, geometry, trained)
        image = stored.image
    if pixel is None:
        pixel = stored.pixel if stored else image
    return Thresholds(image, pixel)


def rate_check(config: LineConfig) -> RateCheck | None:
    """Return the check of the rate that the stored threshold guarantees, None for a given one.

    Anomalous parts are rejected too: with a share a of them, at most p + a (1 - p) of all parts.
    """
    sidecar = load_sidecar(config.engine)
    if config.threshold is not None or sidecar is None or sidecar.threshold is None:
        return None
    stored, share = sidecar.threshold, config.expected_anomalous
    rate = stored.false_alarm_rate
    frames = config.frames_per_part or stored.frames_per_part or 1
    if _part_rule(config) is PartRule.FRAME:
        frames = 1
    return RateCheck(rate + share * (1 - rate), frames)


def _part_rule(config: LineConfig) -> PartRule:
    return config.part if config.trigger == FREE else PartRule.FRAME


def _check_trigger(config: LineConfig, sources: Sequence[NamedSource]) -> None:
    """Raise UsageError for a trigger that is none, or for files, which were captured before."""
    check_trigger(config.trigger)
    for source in sources:
        if config.trigger != FREE and not is_live(source.uri):
            raise UsageError(
                f"{source.name} is not live: its frames were captured before any trigger. Leave "
                "--trigger out; with --part frame, every frame is a part."
            )


def _open_camera(
    named: NamedSource, config: LineConfig, shared: _Shared, stack: ExitStack
) -> Camera:
    check = rate_check(config)
    # checks the rule before a camera opens
    alarm = Alarm(config.rule, shared.next_alarm_id, check, _part_rule(config))
    uri, name = named.uri, named.name
    reopen = partial(open_source, uri, timeout_s=config.timeout_s, bit_depth=shared.depth)
    late = is_live(uri) and not config.require_cameras
    opener = partial(LateSource, without_credentials(uri), reopen) if late else reopen
    source: Source = stack.enter_context(opener())
    trigger = _trigger(config)
    if trigger is not None:
        source, reopen = TriggeredSource(source, trigger), partial(_reopen, reopen, trigger)
    alone = len(config.cameras) == 1
    inspector = Inspector(
        shared.batcher.engine if alone else shared.batcher.client(),
        shared.thresholds,
        FrameGate(live=source.live),
        geometry=shared.geometry,
        overlap=alone and not source.live and not waits(uri),  # those get their verdict at once
        camera=name,
        verdict_within_s=math.inf if trigger else config.verdict_within_s,  # it watches that
    )
    tally = Tally(frame_limit=config.frames)
    return Camera(
        source, reopen, inspector, alarm, tally, name, is_there=presence(uri), trigger=trigger
    )


def _trigger(config: LineConfig) -> Trigger | None:
    if config.trigger == FREE:
        return None
    limits = (config.trigger_delay_s, config.trigger_within_s, config.verdict_within_s)
    return Trigger(TriggerLimits(*limits))


def _reopen(reopen: Callable[[], Source], trigger: Trigger) -> Source:
    return TriggeredSource(reopen(), trigger)


def _wait_for(cameras: Sequence[Camera]) -> None:
    """Give cameras that open beside each other the time that most need.

    One that takes longer or is absent is a camera fault, not an error; any other error is raised.
    """
    until = time.monotonic() + _OPEN_TOGETHER_S
    for camera in cameras:
        source = camera.source
        if isinstance(source, TriggeredSource):
            source = source.source
        if isinstance(source, LateSource):
            source.wait(max(0.0, until - time.monotonic()))
