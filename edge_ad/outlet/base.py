"""Where inspections and alarms go, and how a sink that fails is kept from stopping the line."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Protocol

from edge_ad.event import AlarmEvent
from edge_ad.frame import Image
from edge_ad.inspection import Inspection
from edge_ad.preprocess import AnomalyMap

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What led to an inspection: the frame and its map, None when the frame was INVALID.

    Both belong to the loop: a sink that keeps the map past the call copies it.
    """

    image: Image | None = None
    anomaly_map: AnomalyMap | None = None


class Outlet(Protocol):
    """Takes what the loop tells. An OSError means the sink lost this record."""

    def inspected(self, inspection: Inspection, seen: Evidence) -> None:
        """Take one judged frame."""

    def alarmed(self, event: AlarmEvent, seen: Evidence) -> None:
        """Take one step of an alarm."""

    def close(self) -> None:
        """Write what is pending and release what is held."""


class Outlets:
    """Several sinks as one, for several cameras: calls are serialized, and a failing sink is
    reported once while the line keeps judging. `faults` counts the records lost, by reason.
    """

    def __init__(self, outlets: list[Outlet]) -> None:
        self._sinks = outlets
        self._lock = threading.Lock()
        self.faults: dict[str, int] = {}

    def inspected(self, inspection: Inspection, seen: Evidence) -> None:
        with self._lock:
            for outlet in self._sinks:
                with _Guard(self.faults, outlet):
                    outlet.inspected(inspection, seen)

    def alarmed(self, event: AlarmEvent, seen: Evidence) -> None:
        with self._lock:
            for outlet in self._sinks:
                with _Guard(self.faults, outlet):
                    outlet.alarmed(event, seen)

    def close(self) -> None:
        with self._lock:
            for outlet in self._sinks:
                with _Guard(self.faults, outlet):
                    outlet.close()


class _Guard:
    """Counts an OSError of one sink instead of letting it end the run."""

    def __init__(self, faults: dict[str, int], outlet: Outlet) -> None:
        self._faults, self._name = faults, type(outlet).__name__

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, BrokenPipeError) or not isinstance(error, OSError):
            return False  # a reader that left ends the run, a bug must be seen
        reason = f"{self._name}: {error.strerror or error}"
        if reason not in self._faults:
            _log.error("%s. Records are lost; the line keeps judging.", reason)
        self._faults[reason] = self._faults.get(reason, 0) + 1
        return True
