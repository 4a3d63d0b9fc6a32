"""Inspections of one camera become alarms with a beginning, updates and an end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.line.debounce import Debounce

_WORTH_AN_UPDATE = 0.05  # of the threshold: smaller rises would only flood the log


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """`k` of `n` frames raise; while raised, scores above threshold - hysteresis * |threshold|
    still count, so that a score at the limit gives one alarm and not ten.
    """

    k: int = 2
    n: int = 3
    hysteresis: float = 0.1


class Alarm:
    """The alarms of one camera: at most one defect and one camera fault stand at a time.

    INVALID frames say nothing about the part: they neither raise nor clear a defect alarm. They
    raise a camera fault at once, which `n` judged frames in a row clear.
    """

    def __init__(self, rule: AlarmRule, next_id: Callable[[], str]) -> None:
        self._rule = rule
        self._next_id = next_id
        self._defect = Debounce(rule.k, rule.n)
        self._fault = Debounce(1, rule.n)
        self._standing: dict[AlarmKind, AlarmEvent] = {}

    def update(self, inspection: Inspection) -> list[AlarmEvent]:
        """Take one inspection and return what happened, in order."""
        invalid = inspection.verdict is Verdict.INVALID
        events = self._step(AlarmKind.CAMERA_FAULT, self._fault.update(invalid), inspection)
        if not invalid:
            raised = self._defect.update(self._counts(inspection))
            events += self._step(AlarmKind.DEFECT, raised, inspection)
        return events

    def finish(self, frame: int) -> list[AlarmEvent]:
        """End what still stands, because the run ends at `frame`."""
        standing, self._standing = self._standing, {}
        return [replace(alarm, event=AlarmStep.END, frame=frame) for alarm in standing.values()]

    def _counts(self, inspection: Inspection) -> bool:
        limit = inspection.threshold
        if self._defect.raised:
            limit -= self._rule.hysteresis * abs(limit)
        return inspection.score > limit

    def _step(self, kind: AlarmKind, raised: bool, seen: Inspection) -> list[AlarmEvent]:  # noqa: FBT001
        standing = self._standing.get(kind)
        if standing is None:
            return [self._begin(kind, seen)] if raised else []
        if not raised:
            return [replace(self._standing.pop(kind), event=AlarmStep.END, frame=seen.frame)]
        rise = _WORTH_AN_UPDATE * abs(standing.threshold)
        if kind is AlarmKind.DEFECT and seen.score > standing.peak_score + rise:
            return [self._grow(standing, seen)]
        return []

    def _begin(self, kind: AlarmKind, seen: Inspection) -> AlarmEvent:
        alarm = AlarmEvent(
            event=AlarmStep.NEW,
            id=self._next_id(),
            kind=kind,
            source=seen.source,
            frame=seen.frame,
            first_frame=seen.frame,
            peak_frame=seen.frame,
            peak_score=seen.score,
            threshold=seen.threshold,
            regions=seen.regions,
            reason=seen.reason,
        )
        self._standing[kind] = alarm
        return alarm

    def _grow(self, standing: AlarmEvent, seen: Inspection) -> AlarmEvent:
        grown = replace(
            standing,
            event=AlarmStep.UPDATE,
            frame=seen.frame,
            peak_frame=seen.frame,
            peak_score=seen.score,
            regions=seen.regions,
        )
        self._standing[standing.kind] = grown
        return grown
