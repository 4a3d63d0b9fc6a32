"""An outlet for tests of the line."""

from __future__ import annotations

import threading

from edge_ad.event import AlarmEvent
from edge_ad.inspection import Inspection
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.setting import SettingChange


class Memory(Outlet):
    """Keeps what it receives; `received` is set with the first inspection."""

    def __init__(self) -> None:
        self.inspections: list[Inspection] = []
        self.rejects: list[Inspection] = []
        self.events: list[AlarmEvent] = []
        self.changes: list[SettingChange] = []
        self.received = threading.Event()

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        self.inspections.append(inspection)
        self.received.set()

    def rejected(self, inspection: Inspection, evidence: Evidence) -> None:
        self.rejects.append(inspection)

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        self.events.append(event)

    def setting_changed(self, change: SettingChange) -> None:
        self.changes.append(change)

    def of(self, source: str) -> list[Inspection]:
        """Return the inspections of sources whose name contains `source`."""
        return [result for result in self.inspections if source in result.source]
