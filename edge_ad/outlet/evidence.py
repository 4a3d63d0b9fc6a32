"""Keep one evidence image per alarm, of its worst frame, within a limit on count and bytes."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from edge_ad.errors import DataError
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.files import write_bytes
from edge_ad.frame import Image
from edge_ad.images import encode_image, read_image
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.drawing import contact_sheet, draw_evidence

_QUEUED = 16  # images; a longer burst loses images, never frames
_ON_SHEET = 24  # newest images on the contact sheet


def caption(event: AlarmEvent, local_time: datetime) -> tuple[str, str]:
    """Return the two lines above an evidence image: where and when, and how strong."""
    frame = (
        f"{event.file} (frame {event.peak_frame})" if event.file else f"frame {event.peak_frame}"
    )
    score, threshold = event.peak_score, event.threshold
    strength = f"score {score:.4g}, threshold {threshold:.4g}"
    if threshold > 0:
        strength = f"{score / threshold:.2f} x threshold ({strength})"
    when = local_time.isoformat(sep=" ", timespec="seconds")
    part = f"part {event.part}   " if event.part else ""
    where = f"{event.camera or event.source}   {part}{frame}   {when}"
    return where, f"{strength}   alarm {event.id}"


class EvidenceFolder(Outlet):
    """Writes evidence images in its own thread, so that the line never waits for a disk.

    The image `<alarm id>.jpg` is replaced when the score of its alarm rises. Beyond `max_count`
    images or `max_bytes` the images of the oldest alarms are deleted, those of earlier lines in the
    folder among them. `dropped` counts images lost
    in a burst. A write error is raised by the next call, as OSError.
    """

    def __init__(self, folder: Path, *, max_count: int = 200, max_bytes: int = 256 << 20) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dropped = 0
        self._folder = folder
        self._limits = (max_count, max_bytes)
        self._kept = _images_by_age(folder)  # alarm id -> bytes, oldest first
        self._jobs: queue.Queue[tuple[AlarmEvent, Evidence, datetime] | None] = queue.Queue(_QUEUED)
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._work, name="evidence", daemon=True)
        self._thread.start()

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        anomaly_map = evidence.anomaly_map
        if event.event is not AlarmStep.END and event.kind is AlarmKind.DEFECT and anomaly_map:
            copied = replace(anomaly_map, values=anomaly_map.values.copy())
            self._put(event, Evidence(evidence.image, copied))
        self._raise_late_error()

    def close(self) -> None:
        """Write the queued images, then the contact sheet."""
        self._jobs.put(None)
        self._thread.join()
        self._raise_late_error()
        self._write_sheet()

    def _put(self, event: AlarmEvent, evidence: Evidence) -> None:
        try:
            self._jobs.put_nowait((event, evidence, datetime.now().astimezone()))
        except queue.Full:
            self.dropped += 1

    def _raise_late_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._write(*job)
            except OSError as error:
                self._error = error

    def _write(self, event: AlarmEvent, evidence: Evidence, local_time: datetime) -> None:
        frame, anomaly_map = evidence.image, evidence.anomaly_map
        assert frame is not None and anomaly_map is not None
        lines = caption(event, local_time)
        image = draw_evidence(frame, anomaly_map, event.regions, event.threshold, lines)
        data = encode_image(image, ".jpg")
        write_bytes(self._path(event.id), data)
        self._kept[event.id] = len(data)
        self._delete_oldest()

    def _delete_oldest(self) -> None:
        max_count, max_bytes = self._limits
        while len(self._kept) > max_count or sum(self._kept.values()) > max_bytes:
            oldest, _ = self._kept.popitem(last=False)
            self._path(oldest).unlink(missing_ok=True)

    def _write_sheet(self) -> None:
        if sheet := draw_sheet(self._folder):
            write_bytes(self._folder.parent / "contact-sheet.jpg", sheet)

    def _path(self, alarm_id: str) -> Path:
        return self._folder / f"{alarm_id}.jpg"


def draw_sheet(folder: Path, count: int = _ON_SHEET) -> bytes:
    """Return the newest evidence images on one JPEG, also while a line writes; empty for none."""
    images: list[Image] = []
    for alarm_id in reversed(_images_by_age(folder)):
        with contextlib.suppress(OSError, DataError):  # the line has just deleted it
            images.append(read_image(folder / f"{alarm_id}.jpg", 8))
        if len(images) == count:
            break
    return encode_image(contact_sheet(images[::-1]), ".jpg") if images else b""


def _images_by_age(folder: Path) -> OrderedDict[str, int]:
    """Return the evidence images of a folder, name to bytes, oldest first."""
    sizes: dict[tuple[int, str], int] = {}
    for path in folder.glob("[!.]*.jpg"):  # names with a dot are being written
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            sizes[status.st_mtime_ns, path.stem] = status.st_size
    return OrderedDict((name, sizes[at, name]) for at, name in sorted(sizes))
