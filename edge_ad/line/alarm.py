"""Turn the inspections of one camera into alarms with a beginning, updates and an end.

Where every frame is a part, a rejected one is an event by itself; alarms are left to the camera and
the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from edge_ad.clock import now_utc
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.line.debounce import Debounce
from edge_ad.line.rate_check import RateCheck
from edge_ad.line.reopening import Damping

_UPDATE_SHARE = 0.05  # of the threshold: smaller rises of the score would only flood the log


class PartRule(str, Enum):
    """What one part is."""

    STREAM = "stream"  # whatever passes while an alarm lives: rejects are debounced and merged
    FRAME = "frame"  # every frame: each rejected one is its own event


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """`k` rejects among the last `n` frames raise an alarm.

    While it is raised, scores above threshold - hysteresis * |threshold| count as rejects, so that
    a score around the threshold gives one alarm and not ten.
    """

    k: int = 2
    n: int = 3
    hysteresis: float = 0.1


def check_rule(rule: AlarmRule) -> None:
    """Raise UsageError for an invalid rule."""
    Debounce(rule.k, rule.n)


class Alarm:
    """The alarms of one camera: at most one defect and one camera fault are active at a time.

    INVALID frames carry no information about the part: they neither raise nor clear a defect alarm.
    They raise a camera fault at once, which `n` judged frames in a row clear, later with `damping`.
    `rate_check` raises a third kind once a run: more rejects than the threshold guarantees. With
    PartRule.FRAME there are no defect alarms.
    """

    damping: Damping | None = None

    def __init__(
        self,
        rule: AlarmRule,
        next_id: Callable[[], str],
        rate_check: RateCheck | None = None,
        part_rule: PartRule = PartRule.STREAM,
    ) -> None:
        self._rule, self._next_rule = rule, rule
        self.part_rule = part_rule
        self.rate_check = rate_check
        self._next_id = next_id
        self._defect = Debounce(rule.k, rule.n)
        self._fault = Debounce(1, rule.n)
        self._active: dict[AlarmKind, AlarmEvent] = {}

    @property
    def has_fault(self) -> bool:
        """Whether a camera fault stands."""
        return AlarmKind.CAMERA_FAULT in self._active

    @property
    def active(self) -> tuple[AlarmEvent, ...]:
        """The last steps of the alarms that are active."""
        return tuple(self._active.values())

    @property
    def rule(self) -> AlarmRule:
        """The rule, which may be replaced at any time: it holds from the next inspection.

        An active alarm stays active until the new rule ends it.
        """
        return self._next_rule

    @rule.setter
    def rule(self, rule: AlarmRule) -> None:
        check_rule(rule)
        self._next_rule = rule

    def update(self, inspection: Inspection) -> list[AlarmEvent]:
        """Take one inspection and return the alarm events it causes, in order."""
        if self._next_rule is not self._rule:
            self._take_rule(self._next_rule)
        invalid = inspection.verdict is Verdict.INVALID
        events = self._step(AlarmKind.CAMERA_FAULT, self._update_fault(invalid), inspection)
        if not invalid:
            events += self._debounced(inspection)
            events += self._check_rate(inspection)
        return events

    def camera_ended(self, inspection: Inspection) -> list[AlarmEvent]:
        """Raise the fault of a camera that ends, or give the standing one its reason."""
        active = self._active.get(AlarmKind.CAMERA_FAULT)
        if active is None:
            return [self._begin(AlarmKind.CAMERA_FAULT, inspection)]
        changed = replace(_at(inspection, active, AlarmStep.UPDATE), reason=inspection.reason)
        self._active[AlarmKind.CAMERA_FAULT] = changed
        return [changed]

    def pause(self, frame: int) -> list[AlarmEvent]:
        """End all active alarms, because the camera is paused, and forget what led to them."""
        self._defect = Debounce(self._rule.k, self._rule.n)
        self._fault = Debounce(1, self._rule.n)
        if self.damping is not None:
            self.damping = Damping()
        return self.finish(frame)

    def finish(self, frame: int) -> list[AlarmEvent]:
        """End all active alarms, because the run ends at `frame`."""
        active, self._active = self._active, {}
        now = now_utc()
        return [
            replace(alarm, event=AlarmStep.END, frame=frame, time_utc=now)
            for alarm in active.values()
        ]

    def _take_rule(self, rule: AlarmRule) -> None:
        self._rule = rule
        self._defect = self._defect.changed(rule.k, rule.n)
        self._fault = self._fault.changed(1, rule.n)

    def _debounced(self, inspection: Inspection) -> list[AlarmEvent]:
        if self.part_rule is PartRule.FRAME:
            return []
        raised = self._defect.update(self._counts_as_reject(inspection))
        return self._step(AlarmKind.DEFECT, raised, inspection)

    def _update_fault(self, invalid: bool) -> bool:  # noqa: FBT001
        """Take a frame's validity; return whether the camera fault stands."""
        stood, raised = AlarmKind.CAMERA_FAULT in self._active, self._fault.update(invalid)
        if self.damping is None:
            return raised
        if invalid:
            self.damping.faulty()
        stands = raised or (stood and self.damping.holds())
        if stands and not stood:
            self.damping.began()
        elif stood and not stands:
            self.damping.ended()
        return stands

    def _check_rate(self, inspection: Inspection) -> list[AlarmEvent]:
        rejected = inspection.verdict is Verdict.REJECT
        check = self.rate_check
        if check is not None and check.threshold not in (None, inspection.threshold):
            return self._end_rate(inspection)
        if check is None or not check.update(inspection.frame, rejected=rejected):
            return []
        about = replace(inspection, score=math.nan, regions=(), reason=check.reason())
        return [self._begin(AlarmKind.REJECT_RATE, about)]

    def _end_rate(self, inspection: Inspection) -> list[AlarmEvent]:
        """End the alarm on the rate of rejects: its threshold is no longer the one in use."""
        active = self._active.pop(AlarmKind.REJECT_RATE, None)
        if active is None:
            return []
        reason = "The threshold was changed, so its guarantee is not checked any more."
        return [replace(_at(inspection, active, AlarmStep.END), reason=reason)]

    def _counts_as_reject(self, inspection: Inspection) -> bool:
        limit = inspection.threshold
        if self._defect.raised:
            limit -= self._rule.hysteresis * abs(limit)
        return inspection.score > limit

    def _step(self, kind: AlarmKind, raised: bool, inspection: Inspection) -> list[AlarmEvent]:  # noqa: FBT001
        active = self._active.get(kind)
        if active is None:
            return [self._begin(kind, inspection)] if raised else []
        if not raised:
            return [_at(inspection, self._active.pop(kind), AlarmStep.END)]
        rise = _UPDATE_SHARE * abs(active.threshold)
        if kind is AlarmKind.DEFECT and inspection.score > active.peak_score + rise:
            return [self._update_peak(active, inspection)]
        return []

    def _begin(self, kind: AlarmKind, inspection: Inspection) -> AlarmEvent:
        alarm = AlarmEvent(
            event=AlarmStep.NEW,
            id=self._next_id(),
            kind=kind,
            source=inspection.source,
            frame=inspection.frame,
            first_frame=inspection.frame,
            peak_frame=inspection.frame,
            peak_score=inspection.score,
            threshold=inspection.threshold,
            regions=inspection.regions,
            reason=inspection.reason,
            camera=inspection.camera,
            part=inspection.part,
            peak_part=inspection.part,
            time_utc=inspection.time_utc,
            file=inspection.file,
        )
        self._active[kind] = alarm
        return alarm

    def _update_peak(self, active: AlarmEvent, inspection: Inspection) -> AlarmEvent:
        updated = replace(
            _at(inspection, active, AlarmStep.UPDATE),
            peak_frame=inspection.frame,
            peak_score=inspection.score,
            peak_part=inspection.part,
            regions=inspection.regions,
            file=inspection.file,
        )
        self._active[active.kind] = updated
        return updated


def _at(inspection: Inspection, alarm: AlarmEvent, step: AlarmStep) -> AlarmEvent:
    """Return the alarm at a step that `inspection` causes."""
    return replace(
        alarm,
        event=step,
        frame=inspection.frame,
        part=inspection.part,
        time_utc=inspection.time_utc,
    )
