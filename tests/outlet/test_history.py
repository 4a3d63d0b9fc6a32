"""What a line's store keeps of its inspections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ad.inspection import Inspection, Region, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.history import History
from edge_ad.store.reading import EventFilter, read_events
from edge_ad.store.store import Store

TIME = "2026-11-28T06:00:00.000Z"


def kept(folder: Path, *inspections: Inspection) -> list[dict[str, Any]]:
    history = History(Store(folder), dict)
    for inspection in inspections:
        history.inspected(inspection, Evidence())
    history.close()
    return [event for event in read_events(folder, EventFilter()) if event["type"] != "line"]


def test_rejects_are_events_and_passes_and_invalid_frames_are_not(tmp_path: Path) -> None:
    region = Region(1, 2, 3, 4, 12, 0.9, (2, 3))
    (event,) = kept(
        tmp_path,
        Inspection(Verdict.PASS, 0.1, 0.5, camera="top", part=1, time_utc=TIME),
        Inspection(Verdict.INVALID, float("nan"), 0.5, camera="top", part=2, time_utc=TIME),
        Inspection(Verdict.REJECT, 0.9, 0.5, (region,), camera="top", part=3, time_utc=TIME),
    )
    assert (event["type"], event["part"], event["verdict"]) == ("reject", 3, "REJECT")
    assert (event["score"], event["threshold"]) == (0.9, 0.5)
    assert event["evidence"] == "evidence/part-00000003.jpg"


def test_missed_triggers_are_events_with_their_reason_and_number(tmp_path: Path) -> None:
    one, three = kept(
        tmp_path,
        *(
            Inspection(
                Verdict.INVALID,
                float("nan"),
                0.5,
                camera="top",
                part=part,
                time_utc=TIME,
                reason="missed_trigger: no frame within 1 s",
                missed_triggers=missed,
            )
            for part, missed in ((7, 1), (8, 3))
        ),
    )
    for event, part in ((one, 7), (three, 8)):
        assert (event["type"], event["part"], event["camera"]) == ("missed_trigger", part, "top")
        assert (event["verdict"], event["time_utc"]) == ("INVALID", TIME)
        assert event["reason"] == "missed_trigger: no frame within 1 s"
    assert "count" not in one and three["count"] == 3
