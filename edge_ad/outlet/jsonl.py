"""Write inspections and alarms as JSON lines, to a stream or to a file that is rotated."""

from __future__ import annotations

import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from edge_ad.errors import UsageError
from edge_ad.event import AlarmEvent
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.records import (
    alarm_record,
    inspection_record,
    reject_record,
    setting_record,
)
from edge_ad.setting import SettingChange
from edge_ad.uri import Uri

_ROTATE_BYTES, _OLD_FILES = 64 << 20, 4


def open_file(uri: Uri) -> Outlet:
    """Open `file:PATH`, which receives alarms and rejected parts. Raises OSError."""
    return JsonFile(Path(uri.place), kept=Kept.ALARMS)


def check_file(uri: Uri) -> None:
    """Raise UsageError for a file that cannot be appended to."""
    path = Path(uri.place)
    place = path if path.exists() else path.parent
    if path.is_dir() or not os.access(place, os.W_OK):
        raise UsageError(
            f"{uri}: cannot be written. Expected a file that exists or can be made in a folder "
            "that exists."
        )


class Kept(str, Enum):
    """What a JSON outlet writes."""

    BOTH = "both"  # inspections and alarm events
    ALARMS = "alarms"  # alarm events, and rejected parts where every frame is one
    ALL = "all"  # inspections alone
    REJECTS = "rejects"  # inspections that ended with REJECT


class _JsonOutlet(Outlet, ABC):
    """Turns inspections and alarm events, or those that are `kept`, into one line of JSON each."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        rejected = inspection.verdict is Verdict.REJECT
        if self._kept in (Kept.BOTH, Kept.ALL) or (rejected and self._kept is Kept.REJECTS):
            self._write(inspection_record(inspection))

    def rejected(self, inspection: Inspection, evidence: Evidence) -> None:
        if self._kept is Kept.ALARMS:  # others have the inspection
            self._write(reject_record(inspection))

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        if self._kept in (Kept.BOTH, Kept.ALARMS):
            self._write(alarm_record(event))

    def setting_changed(self, change: SettingChange) -> None:
        if self._kept in (Kept.BOTH, Kept.ALARMS):
            self._write(setting_record(change))

    def _write(self, record: Mapping[str, object]) -> None:
        self._write_line(json.dumps(record, allow_nan=False))

    @abstractmethod
    def _write_line(self, text: str) -> None:
        """Write `text` and a line break, at once."""


class JsonLines(_JsonOutlet):
    """Writes to an open text stream, which stays open."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(Kept.BOTH)
        self._stream = stream

    @property
    def name(self) -> str:
        return "stdout"

    def _write_line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class JsonFile(_JsonOutlet):
    """Appends to a file. At 64 MiB it becomes `NAME.1`, and four old files are kept."""

    def __init__(self, path: Path, *, kept: Kept = Kept.BOTH) -> None:
        super().__init__(kept)
        self._path = path
        self._handler = _Rotating(
            path, maxBytes=_ROTATE_BYTES, backupCount=_OLD_FILES, encoding="utf-8"
        )

    @property
    def name(self) -> str:
        return f"file:{self._path}"

    def close(self) -> None:
        self._handler.close()

    def _write_line(self, text: str) -> None:
        self._handler.handle(logging.LogRecord("", logging.INFO, "", 0, text, None, None))


class _Rotating(RotatingFileHandler):
    """Raises write errors, which the standard library would only print.

    A file that was moved or deleted is not written any more: its name gets a new one.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if self.stream is not None and not _is_at(self.baseFilename, self.stream):
            self.stream.close()
            self.stream = None  # the base opens it, or raises
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # the error that logging has just caught


def _is_at(path: str, stream: TextIO) -> bool:
    """Return whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(path))
    except OSError:
        return False
