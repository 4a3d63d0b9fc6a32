"""Outlets: receivers of inspections and alarms. One that fails never stops the line."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from edge_ad.errors import EdgeAdError
from edge_ad.event import AlarmEvent
from edge_ad.frame import Image
from edge_ad.inspection import Inspection
from edge_ad.preprocess import AnomalyMap
from edge_ad.setting import SettingChange

if TYPE_CHECKING:
    from edge_ad.store.store import Store

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The frame and the map behind an inspection; the map is None when it was INVALID.

    Both belong to the loop and may be overwritten after the call: an outlet that keeps the map
    copies it.
    """

    image: Image | None = None
    anomaly_map: AnomalyMap | None = None


class TriggerInput(Protocol):
    """The trigger of a camera, as outlets that take commands may fire it."""

    @property
    def ready(self) -> bool: ...

    @property
    def busy(self) -> bool: ...

    def fire(self) -> bool: ...


Ask = Callable[[Mapping[str, object], str], Mapping[str, object]]  # request, who -> answer


class Outlet:
    """Base of all outlets. Every method does nothing; override those you need.

    Calls come from several camera threads, one at a time. Return quickly: the line waits. Raise
    OSError when a record could not be delivered; it is counted and the line goes on. `name` stands
    in messages about it; `answer` is what the other side said last, for `edge-ad outlet test`.
    `certificates` are the files that its URI names, with their use (`ca` or `own`).
    """

    answer = ""
    certificates: Mapping[str, str] = MappingProxyType({})

    @property
    def name(self) -> str:
        return type(self).__name__

    def opened(self, cameras: Mapping[str, TriggerInput | None]) -> None:
        """Receive the line's cameras, with their triggers where they have one, when it opens.

        Raise UsageError when the outlet's options do not fit them.
        """

    def started(self, cameras: Sequence[str], store: Store | None) -> None:
        """Receive the names of the line's cameras, and its store if any, before the first frame."""

    def controlled(self, ask: Ask) -> None:
        """Receive what answers the requests of `edge-ad ctl`, once the line runs with a store.

        Outlets that take commands ask it, under a name of who asks; it may wait, and never raises.
        """

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        """Receive one inspected frame."""

    def rejected(self, inspection: Inspection, evidence: Evidence) -> None:
        """Receive one rejected part, after `inspected`, where every frame is a part.

        A line that judges a stream calls `alarmed` instead.
        """

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        """Receive one step of an alarm."""

    def test(self) -> str:
        """Try the other side and return what came back, for `edge-ad outlet test`.

        An empty answer means that an alarm is the test. Raise OSError when it does not answer.
        """
        return ""

    def setting_changed(self, change: SettingChange) -> None:
        """Receive a change of a camera's threshold, rule or pause.

        While a camera is paused, no verdict comes, and the last one does not hold any more.
        """

    def wait_for_room(self) -> None:
        """Wait, for a few seconds at most, until a burst of parts can be kept.

        Only sources that lose nothing by waiting (files) call it, after each part.
        """

    def close(self) -> None:
        """Deliver what is pending and release all resources."""


class OfCameras(Outlet):
    """Passes on to an outlet what concerns some cameras, as if the line had no others."""

    def __init__(self, outlet: Outlet, cameras: frozenset[str]) -> None:
        self._outlet, self._cameras = outlet, cameras
        self.certificates = outlet.certificates

    @property
    def name(self) -> str:
        return self._outlet.name

    def opened(self, cameras: Mapping[str, TriggerInput | None]) -> None:
        self._outlet.opened({name: cameras[name] for name in cameras if name in self._cameras})

    def started(self, cameras: Sequence[str], store: Store | None) -> None:
        self._outlet.started([name for name in cameras if name in self._cameras], store)

    def controlled(self, ask: Ask) -> None:
        self._outlet.controlled(ask)

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        if inspection.camera in self._cameras:
            self._outlet.inspected(inspection, evidence)

    def rejected(self, inspection: Inspection, evidence: Evidence) -> None:
        if inspection.camera in self._cameras:
            self._outlet.rejected(inspection, evidence)

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        if event.camera in self._cameras:
            self._outlet.alarmed(event, evidence)

    def test(self) -> str:
        return self._outlet.test()

    def setting_changed(self, change: SettingChange) -> None:
        if change.camera in self._cameras:
            self._outlet.setting_changed(change)

    def wait_for_room(self) -> None:
        self._outlet.wait_for_room()

    def close(self) -> None:
        self._outlet.close()


class Outlets(Outlet):
    """Several outlets as one, for several cameras: one call at a time, each outlet on its own.

    `faults` counts the lost records by reason; each reason is logged once. `stop` is set when the
    readers of all outlets have left (a closed pipe), since what follows would reach no reader.
    """

    def __init__(self, outlets: Sequence[Outlet], stop: threading.Event | None = None) -> None:
        self._outlets = list(outlets)
        self._left: set[int] = set()  # positions of outlets whose reader has left
        self._stop = stop or threading.Event()
        self._lock = threading.Lock()
        self.faults: dict[str, int] = {}

    def named_certificates(self) -> list[dict[str, str]]:
        """Return the certificates of all outlets: `outlet`, `file` and `use`."""
        return [
            {"outlet": outlet.name, "file": file, "use": use}
            for outlet in tuple(self._outlets)
            for file, use in outlet.certificates.items()
        ]

    def add(self, outlet: Outlet) -> None:
        """Take one more outlet."""
        self._outlets.append(outlet)

    def opened(self, cameras: Mapping[str, TriggerInput | None]) -> None:
        self._call_each(lambda outlet: outlet.opened(cameras))

    def started(self, cameras: Sequence[str], store: Store | None) -> None:
        self._call_each(lambda outlet: outlet.started(cameras, store))

    def controlled(self, ask: Ask) -> None:
        self._call_each(lambda outlet: outlet.controlled(ask))

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        self._deliver(lambda outlet: outlet.inspected(inspection, evidence))

    def rejected(self, inspection: Inspection, evidence: Evidence) -> None:
        self._deliver(lambda outlet: outlet.rejected(inspection, evidence))

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        self._deliver(lambda outlet: outlet.alarmed(event, evidence))

    def setting_changed(self, change: SettingChange) -> None:
        self._deliver(lambda outlet: outlet.setting_changed(change))

    def wait_for_room(self) -> None:
        for outlet in tuple(self._outlets):  # without the lock: other cameras go on
            outlet.wait_for_room()

    def close(self) -> None:
        """Close all outlets; a second call does nothing."""
        try:
            self._deliver(lambda outlet: outlet.close())
        finally:
            self._outlets = []

    def _deliver(self, call: Callable[[Outlet], None]) -> None:
        """Call every outlet; an error of any kind is its own, and the others get the record."""
        self._call_each(call, Exception)

    def _call_each(
        self, call: Callable[[Outlet], None], counted: type[Exception] = OSError
    ) -> None:
        """Call every outlet. Errors of other kinds than `counted` end the run."""
        with self._lock:
            for position, outlet in enumerate(self._outlets):
                try:
                    call(outlet)
                except counted as error:
                    if isinstance(error, BrokenPipeError):
                        self._left.add(position)
                    self._count(outlet, error)
            if self._outlets and len(self._left) == len(self._outlets):
                self._stop.set()

    def _count(self, outlet: Outlet, error: Exception) -> None:
        known = isinstance(error, OSError | EdgeAdError)
        text = getattr(error, "strerror", None) or str(error)
        reason = f"{outlet.name}: {text if known else f'{type(error).__name__}: {text}'}"
        if reason not in self.faults:
            _log.error("%s. Records are lost.", reason, exc_info=None if known else error)
        self.faults[reason] = self.faults.get(reason, 0) + 1
