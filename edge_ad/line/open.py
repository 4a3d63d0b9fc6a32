"""Build a line from its configuration.

with open_line(LineConfig(cameras=("0",), engine=Path("destseg.onnx"))) as line:
    line.start()
    line.wait(timeout_s=60)
    print(line.finish())
line.raise_errors()
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from functools import partial

from edge_ad.errors import UsageError
from edge_ad.frame_gate import FrameGate
from edge_ad.line.alarm import Alarm, check_rule
from edge_ad.line.camera import Camera
from edge_ad.line.config import LineConfig, ResolvedCamera
from edge_ad.line.inspector import Inspector
from edge_ad.line.judge import (
    Judge,
    configured,
    engine_key,
    expected_images,
    open_engines,
    prepare,
    rate_check,
)
from edge_ad.line.supervisor import Supervisor
from edge_ad.line.tally import Tally
from edge_ad.line.trigger import Trigger, TriggeredSource, TriggerLimits
from edge_ad.line.trigger_input import FREE, SOFTWARE, check_trigger, open_trigger
from edge_ad.outlet.base import OfCameras, Outlet, Outlets
from edge_ad.outlet.durable import DurableOutlet
from edge_ad.outlet.registry import open_outlet
from edge_ad.source import Source, open_source
from edge_ad.source.late import LateSource
from edge_ad.source.open import is_live, is_triggered, presence, waits
from edge_ad.uri import without_credentials

_OPEN_TOGETHER_S = 3.0  # a line with an absent camera starts this much later at most


@contextmanager
def open_line(
    config: LineConfig, outlets: Sequence[Outlet] = (), stop: threading.Event | None = None
) -> Iterator[Supervisor]:
    """Load the engines, open outlets and cameras, and yield the line ready to start.

    Cameras with the same engine file and options share one engine. `outlets` are open ones besides
    those that `config` names; all are closed with the line. Raises UsageError for a URI among them,
    and what `LineConfig.resolve`, `open_engine`, `load_sidecar`, `open_outlet` and `open_source`
    raise, before any frame is inspected; a live camera that is absent is an error with
    `require_cameras` only. What ends a camera later is raised by `Supervisor.raise_errors`.
    """
    resolved = config.resolve()
    _refuse_uris(outlets)
    with ExitStack() as stack:
        engines = open_engines(resolved, stack)
        for camera in resolved:
            check_rule(camera.rule)
            check_camera_trigger(camera)
        judges = [prepare(camera, engines[engine_key(camera)]) for camera in resolved]
        stop = stop if stop else threading.Event()
        all_outlets = Outlets(outlets, stop)
        stack.callback(all_outlets.close)
        next_alarm_id = _alarm_ids()
        cameras = [
            _open_camera(camera, judge, config, next_alarm_id, stack)
            for camera, judge in zip(resolved, judges, strict=True)
        ]
        _wait_for(cameras)
        receives = outlet_cameras(config.outlets, resolved)
        durable = _open_outlets(receives, all_outlets, stack)
        line = Supervisor(cameras, all_outlets, config.reopen_for_s, stop, durable=durable)
        line.engines = [engine.batcher.engine for engine in engines.values()]
        stack.callback(line.halt)
        all_outlets.opened({camera.name: camera.trigger for camera in cameras})
        for trigger, fired in _fired_together(resolved, line).items():
            stack.enter_context(open_trigger(trigger, fired))
        yield line


def outlet_cameras(
    of_all: Sequence[str], cameras: Sequence[ResolvedCamera]
) -> dict[str, frozenset[str] | None]:
    """Return each outlet's URI once, with the cameras whose records it gets; None means all."""
    receives: dict[str, frozenset[str] | None] = dict.fromkeys(of_all)
    for camera in cameras:
        for uri in camera.outlets:
            before = receives.get(uri, frozenset())
            receives[uri] = None if before is None else before | {camera.name}
    return receives


def _refuse_uris(outlets: Sequence[object]) -> None:
    if any(isinstance(outlet, str) for outlet in outlets):
        raise UsageError(
            "the outlets of open_line are objects. URIs belong to LineConfig, as in "
            "outlets=('file:alarms.jsonl',)."
        )


def check_camera_trigger(camera: ResolvedCamera) -> None:
    """Raise UsageError for an invalid trigger, or for files, which were captured before."""
    check_trigger(camera.trigger)
    if camera.trigger != FREE and not is_live(camera.uri):
        raise UsageError(
            f"{camera.name} is not live: its frames were captured before any trigger. Leave "
            "--trigger out; with --part frame, every frame is a part."
        )
    if camera.trigger != FREE and is_triggered(camera.uri):
        raise UsageError(
            f"{camera.name} is triggered twice: by the trigger= of its URI, and by --trigger "
            f"{camera.trigger}. Leave one out."
        )


def _fired_together(
    cameras: Sequence[ResolvedCamera], line: Supervisor
) -> dict[str, list[Trigger]]:
    """Return the triggers of cameras by what fires them."""
    fired: dict[str, list[Trigger]] = {}
    for camera in cameras:
        if camera.name in line.triggers:
            fired.setdefault(camera.trigger, []).append(line.triggers[camera.name])
    return fired


def _alarm_ids() -> Callable[[], str]:
    """Return what gives alarms their ids: the start of the run (UTC, to the ms) and a number."""
    began = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%f")[:-3] + "Z"
    numbers = itertools.count(1)
    return lambda: f"{began}-{next(numbers):04d}"


def _open_camera(
    camera: ResolvedCamera,
    judge: Judge,
    config: LineConfig,
    next_alarm_id: Callable[[], str],
    stack: ExitStack,
) -> Camera:
    trigger = _trigger(camera)
    opener, reopen = _openers(camera, judge, trigger, required=config.require_cameras)
    source = stack.enter_context(opener())
    return Camera(
        source=source,
        reopen=reopen,
        inspector=_inspector(camera, judge, source, trigger),
        alarm=Alarm(camera.rule, next_alarm_id, rate_check(camera, judge), camera.part),
        tally=Tally(frame_limit=config.frames),
        name=camera.name,
        is_there=presence(camera.uri),
        trigger=trigger,
        expected=expected_images(camera, judge),
        own_trigger=is_triggered(camera.uri),
        software_trigger=camera.trigger == SOFTWARE,
        configured=configured(camera, judge),
        engine=str(camera.engine),
        stored=judge.stored,
    )


def _openers(
    camera: ResolvedCamera, judge: Judge, trigger: Trigger | None, *, required: bool
) -> tuple[Callable[[], Source], Callable[[], Source]]:
    """Return what opens the camera at the start, and what opens it again after a fault.

    A live camera that is not `required` may be absent at the start: it opens in its own time.
    """
    reopen = partial(
        open_source,
        camera.uri,
        timeout_s=camera.timeout_s,
        bit_depth=judge.depth,
        isolated=camera.isolate,
    )
    late = is_live(camera.uri) and not required
    first = partial(LateSource, without_credentials(camera.uri), reopen) if late else reopen
    if trigger is None:
        return first, reopen
    return partial(_triggered, first, trigger), partial(_triggered, reopen, trigger)


def _triggered(opener: Callable[[], Source], trigger: Trigger) -> Source:
    return TriggeredSource(opener(), trigger)


def _inspector(
    camera: ResolvedCamera, judge: Judge, source: Source, trigger: Trigger | None
) -> Inspector:
    return Inspector(
        judge.engine.client(),
        judge.thresholds,
        FrameGate(live=source.live, size_wh=judge.frame_wh, colour=judge.expects_colour),
        geometry=judge.geometry,
        # a camera's frame, and a file that is waited for, get their verdict at once
        overlap=judge.engine.cameras == 1 and not source.live and not waits(camera.uri),
        camera=camera.name,
        verdict_within_s=math.inf if trigger else camera.verdict_within_s,  # it watches that
    )


def _trigger(camera: ResolvedCamera) -> Trigger | None:
    if camera.trigger == FREE:
        return None
    return Trigger(
        TriggerLimits(camera.trigger_delay_s, camera.trigger_within_s, camera.verdict_within_s)
    )


def _open_outlets(
    receives: Mapping[str, frozenset[str] | None], immediate: Outlets, stack: ExitStack
) -> list[DurableOutlet]:
    """Add outlets to `immediate`, and return those whose events a store must keep.

    `receives` has the cameras of each URI, None for all.
    """
    durable: dict[str, DurableOutlet] = {}
    for uri, names in receives.items():
        outlet = open_outlet(uri)
        if not isinstance(outlet, DurableOutlet):
            immediate.add(outlet if names is None else OfCameras(outlet, names))
            continue
        stack.callback(outlet.close)
        outlet.cameras = tuple(sorted(names or ()))
        if outlet.name in durable:
            raise UsageError(f"the outlet {outlet.name} is given twice. Leave one out.")
        durable[outlet.name] = outlet
    return list(durable.values())


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
