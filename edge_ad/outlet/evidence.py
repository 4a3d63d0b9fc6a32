"""Keep one evidence image of every rejected part, within a limit on count and bytes."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edge_ad.clock import local_text, now_utc
from edge_ad.errors import DataError
from edge_ad.files import write_bytes
from edge_ad.frame import Image
from edge_ad.images import encode_image, read_image
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.drawing import contact_sheet, draw_evidence
from edge_ad.outlet.image_writer import ImageWriter
from edge_ad.store.event import EventType, StoreEvent, evidence_name

_QUEUED = 16  # images; a longer burst of a live camera loses images, never frames
_REPORT_EVERY_S = 600.0  # images that were not kept
_ON_SHEET = 24  # newest images on the contact sheet


def caption(inspection: Inspection) -> tuple[str, str]:
    """Return the two lines above an evidence image: where and when, and how strong."""
    frame = f"frame {inspection.frame}"
    if inspection.file:
        frame = f"{inspection.file} ({frame})"
    score, threshold = inspection.score, inspection.threshold
    strength = f"score {score:.4g}, threshold {threshold:.4g}"
    if threshold > 0:
        strength = f"{score / threshold:.2f} x threshold ({strength})"
    when = local_text(inspection.time_utc or now_utc())
    where = f"{inspection.camera or inspection.source}   part {inspection.part}   {frame}"
    return f"{where}   {when}", strength


@dataclass
class EvidenceCounts:
    """Evidence images written, lost because too many came at once, and deleted to make room."""

    written: int = 0
    lost: int = 0
    deleted: int = 0


class EvidenceFolder(Outlet):
    """Writes evidence images in its own thread, so that the line never waits for a disk.

    Beyond `max_count` images or `max_bytes` the oldest are deleted, those of earlier lines in the
    folder among them. `record` receives an event with the count of images that were lost or
    deleted, every ten minutes at most. A write error is raised by the next call, as OSError.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_count: int = 2000,
        max_bytes: int = 256 << 20,
        record: Callable[[StoreEvent], object] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _delete_unfinished(folder)
        self.counts = EvidenceCounts()
        self._folder = folder
        self._limits = (max_count, max_bytes)
        self._kept = _images_by_age(folder)  # name -> bytes, oldest first
        self._kept_bytes = sum(self._kept.values())
        self._record = record
        self._reported, self._reported_s = EvidenceCounts(), time.monotonic()
        self._writer = ImageWriter("evidence", _QUEUED, self._write_and_report)

    @property
    def name(self) -> str:
        return str(self._folder)

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        anomaly_map = evidence.anomaly_map
        if inspection.verdict is Verdict.REJECT and anomaly_map and self._limits[0]:
            copied = replace(anomaly_map, values=anomaly_map.values.copy())
            if not self._writer.put((inspection, Evidence(evidence.image, copied))):
                self.counts.lost += 1
        self._writer.raise_late_error()

    def wait_for_room(self) -> None:
        self._writer.wait_for_room()

    def close(self) -> None:
        """Write the queued images, then the contact sheet."""
        self._writer.close()
        self._report()
        self._writer.raise_late_error()
        self._write_sheet()

    def _write_and_report(self, job: tuple[Inspection, Evidence]) -> None:
        try:
            self._write(*job)
        finally:
            if time.monotonic() - self._reported_s > _REPORT_EVERY_S:
                self._report()

    def _write(self, inspection: Inspection, evidence: Evidence) -> None:
        frame, anomaly_map = evidence.image, evidence.anomaly_map
        assert frame is not None and anomaly_map is not None
        lines = caption(inspection)
        image = draw_evidence(frame, anomaly_map, inspection.regions, inspection.threshold, lines)
        data = encode_image(image, ".jpg")
        path = self._folder / Path(evidence_name(inspection.part)).name
        write_bytes(path, data)
        self.counts.written += 1
        self._kept_bytes += len(data) - self._kept.pop(path.stem, 0)
        self._kept[path.stem] = len(data)
        self._delete_oldest()

    def _delete_oldest(self) -> None:
        max_count, max_bytes = self._limits
        while len(self._kept) > max_count or self._kept_bytes > max_bytes:
            oldest, size = self._kept.popitem(last=False)
            self._kept_bytes -= size
            (self._folder / f"{oldest}.jpg").unlink(missing_ok=True)
            self.counts.deleted += 1

    def _report(self) -> None:
        """Record how many images were not kept since the last report."""
        before, self._reported = self._reported, replace(self.counts)
        self._reported_s = time.monotonic()
        if self._record is None:
            return
        if lost := self._reported.lost - before.lost:
            reason = "evidence images: more rejected parts at once than could be drawn"
            self._record(StoreEvent(EventType.LOST, reason=reason, count=lost))
        if deleted := self._reported.deleted - before.deleted:
            max_count, max_bytes = self._limits
            reason = f"evidence images: more than {max_count} or {max_bytes >> 20} MiB"
            self._record(StoreEvent(EventType.RETENTION, reason=reason, count=deleted))

    def _write_sheet(self) -> None:
        if sheet := draw_sheet(self._folder):
            write_bytes(self._folder.parent / "contact-sheet.jpg", sheet)


def draw_sheet(folder: Path, count: int = _ON_SHEET) -> bytes:
    """Return the newest evidence images on one JPEG, also while a line writes; empty for none."""
    images: list[Image] = []
    for name in reversed(_images_by_age(folder)):
        with contextlib.suppress(OSError, DataError):  # the line has just deleted it
            images.append(read_image(folder / f"{name}.jpg", 8))
        if len(images) == count:
            break
    return encode_image(contact_sheet(images[::-1]), ".jpg") if images else b""


def _delete_unfinished(folder: Path) -> None:
    """Delete images that a killed line was writing (`edge_ad.files.replacing`)."""
    sheets = folder.parent.glob(".contact-sheet.*.part.jpg")
    for path in (*folder.glob(".part-*.part.jpg"), *sheets):
        path.unlink(missing_ok=True)


def _images_by_age(folder: Path) -> OrderedDict[str, int]:
    """Return the evidence images of a folder, name to bytes, oldest first.

    Their age is that of their part numbers, not of their times, which a wrong clock may have given.
    """
    sizes: dict[tuple[int, str], int] = {}
    for path in folder.glob("part-*.jpg"):  # what else is there is not ours to delete
        number = path.stem.removeprefix("part-")
        with contextlib.suppress(FileNotFoundError, ValueError):
            sizes[int(number), path.stem] = path.stat().st_size
    return OrderedDict((name, sizes[number, name]) for number, name in sorted(sizes))
