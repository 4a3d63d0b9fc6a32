"""Write what a line would have written, at times that a test chooses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.inspection import Inspection, Region, Verdict
from edge_ad.store.event import alarm_event, insert, reject_event
from edge_ad.store.schema import DATABASE, connect, create
from edge_ad.store.statistics import score_bin

DAY = "2026-11-28"


def at(clock: str) -> str:
    """Return a time of the day, as records have it."""
    return f"{DAY}T{clock}.000+00:00" if clock.count(":") == 2 else f"{DAY}T{clock}:00.000+00:00"


class Writer:
    """Writes rejects, alarms and minutes into a store; times are `HH:MM` or `HH:MM:SS`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        create(folder / DATABASE)
        self.folder = folder
        self.connection = connect(folder / DATABASE)
        self.connection.execute("PRAGMA synchronous=OFF")  # a test's disk need not keep it
        self._part = 0

    def reject(
        self, clock: str, score: float = 0.9, camera: str = "top", threshold: float = 0.5,
        area_px: int = 12, **fields: Any,
    ) -> int:  # fmt: skip
        """Add a rejected part and return its `seq`."""
        self._part += 1
        region = Region(1, 2, 3, 4, area_px, score, (2, 3))
        inspection = Inspection(
            Verdict.REJECT, score, threshold, (region,), camera=camera,
            time_utc=at(clock), **{"part": self._part, **fields},
        )  # fmt: skip
        return insert(self.connection, reject_event(inspection))

    def alarm(
        self, clock: str, step: str = "new", name: str = "a-1", score: float = 0.9, **fields: Any
    ) -> int:
        """Add a step of an alarm and return its `seq`."""
        about: dict[str, Any] = {"kind": AlarmKind.DEFECT, "camera": "top", "part": 1, "frame": 1}
        about |= {"peak_part": 1} | fields
        event = AlarmEvent(
            AlarmStep(step), name, source="uri", first_frame=1, peak_frame=1,
            peak_score=score, threshold=0.5, time_utc=at(clock), **about,
        )  # fmt: skip
        return insert(self.connection, alarm_event(event))

    def minute(
        self, clock: str, scores: Iterable[float] = (), camera: str = "top", *,
        threshold: float = 0.5, **fields: Any,
    ) -> None:  # fmt: skip
        """Add a minute of statistics; scores above the threshold were rejected."""
        values = list(scores)
        rejected = sum(score > threshold for score in values)
        row = {
            "minute": at(clock)[:16] + "Z", "camera": camera, "passed": len(values) - rejected,
            "rejected": rejected, "invalid": 0, "dropped": 0,
            "scores": json.dumps(Counter(map(str, map(score_bin, values)))),
            "latency_ms": None, "brightness": None, "sharpness": None,
        } | fields  # fmt: skip
        self.connection.execute(
            f"INSERT INTO statistics VALUES ({', '.join('?' * len(row))})", list(row.values())
        )


@contextmanager
def writing(folder: Path) -> Iterator[Writer]:
    """Open a store for a test to write in; what was written is committed at once."""
    writer = Writer(folder)
    try:
        yield writer
    finally:
        writer.connection.close()
