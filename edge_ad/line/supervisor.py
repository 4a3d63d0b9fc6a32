"""Run several cameras on one engine, a thread each, so that a dead camera stops no other."""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from edge_ad.engine import Engine
from edge_ad.errors import EdgeAdError, EngineLost, SourceLost, UsageError
from edge_ad.line.alarm import PartRule
from edge_ad.line.camera import Camera
from edge_ad.line.drift import DriftWatch
from edge_ad.line.loop import watch
from edge_ad.line.recorder import Recorder
from edge_ad.line.summary import summary
from edge_ad.line.trigger import Trigger
from edge_ad.machine.memory import return_freed_memory
from edge_ad.outlet.base import Evidence, OfCameras, Outlets
from edge_ad.outlet.delivery import Deliveries
from edge_ad.outlet.durable import DurableOutlet
from edge_ad.outlet.history import History
from edge_ad.store.cameras import write_cameras
from edge_ad.store.event import EventType
from edge_ad.store.store import Store

_log = logging.getLogger(__name__)
_LOOK_EVERY_S = 0.25  # for a camera that is back before its next attempt is due


@dataclass
class Supervisor:
    """Runs cameras until all have ended or `stop` is set.

    A live source that is lost raises a camera fault and is opened again, by default without end.
    After `reopen_for_s` seconds without it, or by any other error, its camera ends: with the error,
    which is a camera fault too, while the others go on. `next_part` gives every inspection its part
    number; a store's goes on after a restart. Outlets receive `store` at the start; events for
    `durable` ones wait in it.
    """

    cameras: list[Camera]
    outlets: Outlets
    reopen_for_s: float = math.inf
    stop: threading.Event = field(default_factory=threading.Event)
    engines: Sequence[Engine] = ()
    next_part: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__)
    store: Store | None = None
    durable: list[DurableOutlet] = field(default_factory=list)
    deliveries: Deliveries | None = field(default=None, init=False)
    history: History | None = field(default=None, init=False)
    _threads: list[threading.Thread] = field(default_factory=list, init=False)
    _trigger_threads: list[threading.Thread] = field(default_factory=list, init=False)

    @property
    def triggers(self) -> dict[str, Trigger]:
        """The triggers of the cameras that have one, by camera."""
        return {camera.name: camera.trigger for camera in self.cameras if camera.trigger}

    def use_store(self, store: Store) -> None:
        """Keep events in a store, deliver them from there, and close it with the line."""
        self.store, self.next_part = store, store.next_part
        store.put(partial(write_cameras, names=[camera.name for camera in self.cameras]), 0)
        self.deliveries = Deliveries(store, self.durable, self._delivered_types())
        self.outlets.add(
            DriftWatch(store, {camera.name: camera.expected for camera in self.cameras})
        )
        self.history = History(store, self.dropped)
        self.outlets.add(self.history)
        for outlet in self.durable:  # closed after the history, which lets them deliver the rest
            cameras = frozenset(outlet.cameras)
            self.outlets.add(OfCameras(outlet, cameras) if cameras else outlet)

    def start(self) -> None:
        """Start one thread per camera, and one per trigger.

        Raises UsageError for durable outlets without a store.
        """
        if self.durable and self.deliveries is None:
            raise needs_store(self.durable[0].name)
        self._began = time.perf_counter()
        self.outlets.started([camera.name for camera in self.cameras], self.store)
        for camera in self.cameras:
            recorder = camera.recorder = Recorder(
                camera.alarm,
                self.outlets,
                camera.tally,
                self.next_part,
                camera.trigger,
                camera.pause,
                camera.dropped_parts,
            )
            self._threads.append(_thread(camera.name, self._run, camera, recorder))
            if camera.trigger is not None:
                name = f"trigger {camera.name}"
                self._trigger_threads.append(
                    _thread(name, self._record_missed, camera, camera.trigger, recorder)
                )
        for thread in [*self._threads, *self._trigger_threads]:
            thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the cameras to end and return whether all have ended."""
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def finish(self) -> dict[str, Any]:
        """Stop, close all sources and outlets, and return the summary."""
        elapsed_s = time.perf_counter() - self._began
        self.halt()
        self._close_triggers()
        for camera in self.cameras:
            last = camera.tally.last
            for event in camera.alarm.finish(last.frame if last else 0):
                self.outlets.alarmed(event, Evidence())
        self.outlets.close()
        return summary(self.cameras, self.outlets, elapsed_s)

    def dropped(self) -> dict[str, int]:
        """Return how many frames of each camera a newer one replaced before they were inspected."""
        return {camera.name: camera.dropped for camera in self.cameras}

    def under_way(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return each camera's counts by verdict in its last two minutes, by minute."""
        return self.history.under_way() if self.history is not None else {}

    def halt(self) -> None:
        """Stop and close all sources; an inference under way is still finished."""
        self.stop.set()
        self._close_sources()
        self.wait(5.0)
        self._close_sources()  # one may have been opened again meanwhile

    def raise_errors(self, *, terminated: bool = False) -> None:
        """Raise the error that ended a camera, or SourceLost when all its frames were INVALID.

        For a line that somebody has `terminated`, a live camera without a frame is a fault that
        was recorded, and no error.
        """
        errors = [camera.error for camera in self.cameras if camera.error is not None]
        for error in sorted(errors, key=lambda error: not isinstance(error, EngineLost)):
            raise error
        for camera in self.cameras:
            absent = terminated and camera.source.live and camera.inspector.misfit is None
            if camera.tally.frames and not camera.tally.judged and not absent:
                assert camera.tally.last is not None
                if camera.inspector.misfit is not None:  # options that fit no image
                    raise camera.inspector.misfit
                raise SourceLost(
                    f"{camera.name}: none of its {camera.tally.frames} frames could be "
                    f"judged. The last one: {camera.tally.last.reason}"
                )

    def _delivered_types(self) -> tuple[str, ...]:
        """Return the types of events for outlets that name none: what says that a part is bad."""
        if any(camera.alarm.part_rule is PartRule.FRAME for camera in self.cameras):
            parts = (EventType.REJECT, EventType.MISSED_TRIGGER)
            return tuple(kind.value for kind in (EventType.ALARM, *parts))
        return (EventType.ALARM.value,)

    def _close_sources(self) -> None:
        for camera in self.cameras:
            camera.source.close()

    def _close_triggers(self) -> None:
        for trigger in self.triggers.values():
            trigger.close()
        for thread in self._trigger_threads:
            thread.join(5.0)

    def _record_missed(self, camera: Camera, trigger: Trigger, recorder: Recorder) -> None:
        """Record triggers that were not served, as they come."""
        while (missed := trigger.wait_missed()) is not None:
            try:
                recorder.missed(camera.missed_part(missed), time.monotonic() - missed.at_s)
            except Exception:
                _log.exception("%s: a missed trigger could not be recorded", camera.name)
            if camera.tally.is_full():
                camera.source.close()  # nothing else would end its wait for a frame

    def _run(self, camera: Camera, recorder: Recorder) -> None:
        try:
            while not self._watch_once(camera, recorder):
                if not self._reopen(camera, recorder):
                    return
        except BaseException as error:  # crosses over to raise_errors
            camera.tally.under_way_since = None
            camera.error = _as_exception(error, camera.name)
            if isinstance(error, EngineLost):
                self.stop.set()  # no camera can be judged any more; a service starts again
            if not isinstance(error, EdgeAdError):
                _log.exception("%s: ended by an unexpected error", camera.name)
            self._report_end(camera, recorder, error)

    def _watch_once(self, camera: Camera, recorder: Recorder) -> bool:
        """Watch until the end; return false when a live source was lost and may be reopened."""
        try:
            watch(camera.source, camera.inspector, recorder, self.stop)
        except SourceLost as lost:
            camera.tally.under_way_since = None
            if self.stop.is_set():
                return True
            if not camera.source.live:
                raise
            self._record_loss(camera, recorder, lost)
            return camera.tally.is_full()
        return True

    def _record_loss(self, camera: Camera, recorder: Recorder, lost: SourceLost) -> None:
        """Record the missing frame as INVALID, like a black one; later if the camera is paused."""
        camera.loss = lost if camera.pause.on else None
        if camera.loss is not None:
            return
        faults = camera.tally.camera_faults
        recorder.record(camera.inspector(camera.missing(f"lost: {lost}")))
        if camera.alarm.damping is not None:
            camera.alarm.damping.lost()
        if camera.tally.camera_faults > faults:  # a flapping camera is logged once, too
            _log.warning("%s%s Trying to open it again.", camera.prefix, lost)

    def _report_end(self, camera: Camera, recorder: Recorder, error: BaseException) -> None:
        """Raise the fault of a camera that ends with an error, as far as that still works."""
        known = isinstance(error, EdgeAdError)
        reason = f"ended: {error}" if known else f"ended: {type(error).__name__}: {error}"
        try:
            recorder.ended(camera.inspector(camera.missing(reason)).inspection)
        except Exception:
            _log.exception("%s: its fault could not be recorded", camera.name)

    def _reopen(self, camera: Camera, recorder: Recorder) -> bool:
        """Open a lost camera again and return true, or false when the line stops."""
        camera.source.close()
        camera.back_off.lost()
        while not self._wait_for_attempt(camera):
            try:
                source = camera.reopen()
            except SourceLost:
                if camera.loss is not None:
                    self._record_loss(camera, recorder, camera.loss)
                elif camera.back_off.away_s() > self.reopen_for_s:
                    raise
                continue
            camera.loss = None
            camera.dropped_before += camera.source.dropped
            camera.source = source
            camera.reopened += 1
            camera.back_off.opened()
            if camera.alarm.damping is not None:
                camera.alarm.damping.faulty()  # until now
            camera.inspector.reopened()
            _log.info("%s: reopened", camera.name)
            return_freed_memory()  # else a camera that flaps for days fragments the heap
            return True
        return False

    def _wait_for_attempt(self, camera: Camera) -> bool:
        """Wait for the next attempt; return whether the line stops.

        The attempt is due when the camera is back, and when one that was lost is resumed. One that
        was there before, and did not open, has to wait.
        """
        pause_s, is_there = camera.back_off.pause_s(), camera.is_there
        there = is_there is not None and is_there()
        if there and camera.back_off.absent:  # it came back during the attempt that failed
            camera.back_off.absent = False
            return self.stop.is_set()
        camera.back_off.absent = is_there is not None and not there
        if there:
            is_there = None
        until = time.monotonic() + pause_s
        while (left_s := until - time.monotonic()) > 0:
            if self.stop.wait(min(left_s, _LOOK_EVERY_S)):
                return True
            if (is_there is not None and is_there()) or (camera.loss and not camera.pause.on):
                camera.back_off.absent = False
                return False
        return self.stop.is_set()


def needs_store(outlet: str) -> UsageError:
    """Return the error for a durable outlet on a line without a store."""
    return UsageError(
        f"{outlet} keeps its events in the output folder until they are delivered, so that none is "
        "lost. Give a folder with -o DIR."
    )


def _thread(name: str, target: Callable[..., None], *arguments: object) -> threading.Thread:
    return threading.Thread(target=target, args=arguments, name=name, daemon=True)


def _as_exception(error: BaseException, name: str) -> Exception:
    """Return an error that ends a command as a failure, which SystemExit might not."""
    if isinstance(error, Exception):
        return error
    failure = EdgeAdError(f"{name}: ended by {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
