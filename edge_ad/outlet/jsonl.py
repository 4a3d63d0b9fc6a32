"""The event log: JSON lines on disk, rotated so that a year fits."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from edge_ad.event import AlarmEvent
from edge_ad.inspection import Inspection
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.records import alarm_record, inspection_record

_ROTATE_BYTES, _KEPT = 64 << 20, 4


def now_utc() -> str:
    """The time of day for records: ISO 8601, milliseconds, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


class JsonLines:
    """Writes every inspection and alarm to an open text stream, one object a line, at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def inspected(self, inspection: Inspection, seen: Evidence) -> None:
        self._write(inspection_record(inspection))

    def alarmed(self, event: AlarmEvent, seen: Evidence) -> None:
        self._write(alarm_record(event, now_utc()))

    def close(self) -> None:
        """The stream belongs to the caller."""

    def _write(self, record: dict[str, object]) -> None:
        self._stream.write(json.dumps(record, allow_nan=False) + "\n")
        self._stream.flush()


class EventLog:
    """`events.jsonl` in a folder; at 64 MiB it becomes `events.jsonl.1`, and four old ones stay."""

    def __init__(self, folder: Path) -> None:
        self._handler = _Rotating(
            folder / "events.jsonl", maxBytes=_ROTATE_BYTES, backupCount=_KEPT, encoding="utf-8"
        )

    def inspected(self, inspection: Inspection, seen: Evidence) -> None:
        self._write(inspection_record(inspection))

    def alarmed(self, event: AlarmEvent, seen: Evidence) -> None:
        self._write(alarm_record(event, now_utc()))

    def close(self) -> None:
        self._handler.close()

    def _write(self, record: dict[str, object]) -> None:
        text = json.dumps(record, allow_nan=False)
        self._handler.handle(logging.LogRecord("", logging.INFO, "", 0, text, None, None))


class _Rotating(RotatingFileHandler):
    """The standard library's rotation, with errors raised: the loop decides what they mean."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # the error that logging caught just now
