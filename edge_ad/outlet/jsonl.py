"""Write inspections and alarms as JSON lines, to a stream or to a file that is rotated."""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timezone
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from edge_ad.event import AlarmEvent
from edge_ad.inspection import Inspection
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.records import alarm_record, inspection_record
from edge_ad.uri import Uri

_ROTATE_BYTES, _OLD_FILES = 64 << 20, 4


def now_utc() -> str:
    """Return the time for records: ISO 8601, milliseconds, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def open_file(uri: Uri) -> Outlet:
    """Open `file:PATH`, which receives alarm events. Raises OSError."""
    return JsonFile(Path(uri.place), alarms_only=True)


class _JsonOutlet(Outlet, ABC):
    """Turns inspections (unless `alarms_only`) and alarm events into one line of JSON each."""

    def __init__(self, *, alarms_only: bool = False) -> None:
        self._alarms_only = alarms_only

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        if not self._alarms_only:
            self._write(inspection_record(inspection))

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        self._write(alarm_record(event, now_utc()))

    def _write(self, record: Mapping[str, object]) -> None:
        self._write_line(json.dumps(record, allow_nan=False))

    @abstractmethod
    def _write_line(self, text: str) -> None:
        """Write `text` and a line break, at once."""


class JsonLines(_JsonOutlet):
    """Writes to an open text stream, which stays open."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    @property
    def name(self) -> str:
        return "stdout"

    def _write_line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class JsonFile(_JsonOutlet):
    """Appends to a file. At 64 MiB it becomes `NAME.1`, and four old files are kept."""

    def __init__(self, path: Path, *, alarms_only: bool = False) -> None:
        super().__init__(alarms_only=alarms_only)
        self._handler = _Rotating(
            path, maxBytes=_ROTATE_BYTES, backupCount=_OLD_FILES, encoding="utf-8"
        )

    def close(self) -> None:
        self._handler.close()

    def _write_line(self, text: str) -> None:
        self._handler.handle(logging.LogRecord("", logging.INFO, "", 0, text, None, None))


class _Rotating(RotatingFileHandler):
    """Raises write errors, which the standard library would only print."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # the error that logging has just caught
