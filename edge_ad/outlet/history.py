"""Write the events of a line to its store."""

from __future__ import annotations

from collections.abc import Callable

from edge_ad.event import AlarmEvent
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.store.event import alarm_event, missed_event, reject_event
from edge_ad.store.statistics import MinuteStatistics
from edge_ad.store.store import Store


class History(Outlet):
    """Records rejected parts, missed triggers, alarms and the statistics of each minute.

    It closes the store. `dropped` returns the frames that each camera dropped so far.
    """

    def __init__(self, store: Store, dropped: Callable[[], dict[str, int]]) -> None:
        self._store = store
        self._statistics = MinuteStatistics(store.put, dropped)

    @property
    def name(self) -> str:
        return str(self._store.path)

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        if inspection.verdict is Verdict.REJECT:
            self._store.record(reject_event(inspection))
        if inspection.missed_triggers:
            self._store.record(missed_event(inspection))
        self._statistics.count(inspection, evidence.image)

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        self._store.record(alarm_event(event))

    def under_way(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return each camera's counts by verdict in its last two minutes, by minute."""
        return self._statistics.under_way()

    def close(self) -> None:
        self._statistics.flush()
        self._store.close()
