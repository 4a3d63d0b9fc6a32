"""What a store keeps of a line: events, and the rows they become."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from edge_ad.clock import now_utc
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.files import readable
from edge_ad.inspection import Inspection, Region, finite

INTERRUPTED = "the line ended without closing it: killed, or without power"


class EventType(str, Enum):
    """What an event is about."""

    REJECT = "reject"  # one rejected part
    MISSED_TRIGGER = "missed_trigger"  # a part without frame or verdict, or several with a count
    ALARM = "alarm"  # a step of an alarm, on a defect or a camera fault
    LINE = "line"  # the line has started or stopped
    ENGINE = "engine"  # the GPU failed, and the engine was opened again
    DRIFT = "drift"  # light, sharpness or scores have changed (new), or are as before (end)
    LOST = "lost"  # events that could not be kept, with their count
    CLOCK = "clock"  # the computer's clock was set, or differs much from the last record
    RETENTION = "retention"  # old events deleted, with their count
    OUTLET_FAULT = (
        "outlet_fault"  # an outlet that `source` names does not take events, or does again
    )
    OUTBOX = "outbox"  # events for an outlet given up or sent again, with who and their count
    BUNDLE = "bundle"  # a version of what the line runs was installed, accepted or taken back
    PAGE = "page"  # somebody logged in to the page or out, or was refused, from an address
    ACK = "ack"  # a person has seen the event that `refers` names
    MARK = "mark"  # a person has called it a false alarm or real
    SETTING = "setting"  # a threshold, rule or pause changed while the line ran, by whom
    CONTROL = "control"  # messages to the control socket that were refused


@dataclass(frozen=True, slots=True)
class StoreEvent:
    """One event. Fields that its type does not have are empty.

    `step` is that of an alarm, a line (start, stop), an outlet's fault (new, end), a clock
    (forward, back) or a bundle (install, accept, rollback), or what a mark says; `alarm` the
    alarm's id; `source` names the outlet of a fault. `refers` is the `seq` of the event that an
    acknowledgement or mark is about. `evidence` is a file's path within the folder of the store.
    `old` and `new` are a setting's values, in JSON.
    """

    type: EventType
    step: str = ""
    kind: str = ""
    alarm: str = ""
    camera: str = ""
    source: str = ""
    file: str = ""
    part: int | None = None
    frame: int | None = None
    time_utc: str = ""
    verdict: str = ""
    score: float | None = None
    threshold: float | None = None
    regions: tuple[Region, ...] = ()
    reason: str = ""
    who: str = ""
    evidence: str = ""
    refers: int | None = None
    count: int | None = None
    old: str = ""
    new: str = ""


_COLUMNS = tuple(StoreEvent.__dataclass_fields__)
_INSERT = (
    f"INSERT INTO events ({', '.join(_COLUMNS)}, area_px) "
    f"VALUES ({', '.join('?' * len(_COLUMNS))}, ?)"
)
_ENQUEUE = (
    "INSERT INTO outbox SELECT id, ? FROM outlets WHERE active AND instr(types, ?) AND name <> ? "
    "AND (cameras = '' OR ? = '' OR instr(cameras, ?))"
)


def reject_event(inspection: Inspection) -> StoreEvent:
    """Return the event of a rejected part; its image may not be kept for as long."""
    return StoreEvent(
        EventType.REJECT,
        camera=inspection.camera,
        source=inspection.source,
        file=inspection.file,
        part=inspection.part,
        frame=inspection.frame,
        time_utc=inspection.time_utc,
        verdict=inspection.verdict.value,
        score=finite(inspection.score),
        threshold=finite(inspection.threshold),
        regions=inspection.regions,
        evidence=evidence_name(inspection.part),
    )


def missed_event(inspection: Inspection) -> StoreEvent:
    """Return the event of triggers that were not served."""
    several = inspection.missed_triggers if inspection.missed_triggers > 1 else None
    return StoreEvent(
        EventType.MISSED_TRIGGER,
        camera=inspection.camera,
        source=inspection.source,
        part=inspection.part,
        time_utc=inspection.time_utc,
        verdict=inspection.verdict.value,
        reason=inspection.reason,
        count=several,
    )


def evidence_name(part: int) -> str:
    """Return the name of a part's evidence image within the folder of the store."""
    return f"evidence/part-{part:08d}.jpg"


def alarm_event(alarm: AlarmEvent) -> StoreEvent:
    """Return the event of one step of an alarm; score and evidence are those of its worst part."""
    defect = alarm.kind is AlarmKind.DEFECT
    return StoreEvent(
        EventType.ALARM,
        step=alarm.event.value,
        kind=alarm.kind.value,
        alarm=alarm.id,
        camera=alarm.camera,
        source=alarm.source,
        file=alarm.file,
        part=alarm.part,
        frame=alarm.frame,
        time_utc=alarm.time_utc,
        score=finite(alarm.peak_score),
        threshold=finite(alarm.threshold),
        regions=alarm.regions,
        reason=alarm.reason,
        evidence=evidence_name(alarm.peak_part) if defect else "",
    )


def insert(connection: sqlite3.Connection, event: StoreEvent) -> int:
    """Add an event, also to the outboxes of outlets that take it, and return its `seq`.

    Alarms that begin or end are noted as open or closed.
    """
    timed = event if event.time_utc else replace(event, time_utc=now_utc())
    values = [_column(getattr(timed, name)) for name in _COLUMNS]
    largest = max((region.area_px for region in event.regions), default=None)
    seq = connection.execute(_INSERT, [*values, largest]).lastrowid
    assert seq is not None
    _enqueue(connection, event, seq)
    if event.type is EventType.ALARM and event.step == AlarmStep.END:
        connection.execute("DELETE FROM open_alarms WHERE alarm = ?", (event.alarm,))
    elif event.type is EventType.ALARM:
        connection.execute("INSERT OR REPLACE INTO open_alarms VALUES (?, ?)", (event.alarm, seq))
    return seq


def delimited(text: str) -> str:
    """Return a text with a line break at both ends: `instr` then finds whole names only."""
    return f"\n{text}\n"


def _enqueue(connection: sqlite3.Connection, event: StoreEvent, seq: int) -> None:
    """Add an event to the outboxes of outlets; an outlet's own fault is none of its news."""
    own = event.source if event.type is EventType.OUTLET_FAULT else ""
    camera = event.camera
    connection.execute(_ENQUEUE, (seq, delimited(event.type.value), own, camera, delimited(camera)))


def close_open_alarms(connection: sqlite3.Connection) -> int:
    """End every alarm that is still open with the reason, and return how many there were."""
    rows = connection.execute(
        "SELECT events.* FROM open_alarms JOIN events USING (seq) ORDER BY seq"
    ).fetchall()
    for row in rows:
        event = from_row(row)
        reason = f"{event.reason}; {INTERRUPTED}" if event.reason else INTERRUPTED
        insert(connection, replace(event, step=AlarmStep.END.value, time_utc="", reason=reason))
    connection.execute("DELETE FROM open_alarms")
    return len(rows)


def from_row(row: sqlite3.Row) -> StoreEvent:
    """Return the event of a row."""
    values = {name: row[name] for name in _COLUMNS if row[name] is not None}
    regions = json.loads(values.pop("regions", "[]"))
    values["regions"] = tuple(
        Region(**{**region, "peak_xy": tuple(region["peak_xy"])}) for region in regions
    )
    return StoreEvent(**{**values, "type": EventType(values["type"])})


def _column(value: Any) -> Any:
    """Return what SQLite stores of a field; empty fields become NULL."""
    if isinstance(value, tuple):
        return json.dumps([asdict(region) for region in value]) if value else None
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return readable(value) or None
    return value
