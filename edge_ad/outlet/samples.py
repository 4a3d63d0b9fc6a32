"""Keep images for the next training: rejected, nearly rejected, and drawn at random."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

from edge_ad.files import write_bytes
from edge_ad.frame import Image
from edge_ad.images import encode_image
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence, Outlet
from edge_ad.outlet.image_writer import ImageWriter
from edge_ad.store.samples import KeptSample, add_sample
from edge_ad.store.store import Store

_FOLDER = "samples"
_BORDER = 0.1  # of the threshold: a score this little below it is nearly rejected
_EVERY_S = {"reject": 1.0, "borderline": 1.0, "random": 300.0}  # at most, for each camera
_QUEUED = 4  # images; a live camera's samples need not be complete


class SampleFolder(Outlet):
    """Writes images as they came, lossless, into the folder `samples`, and lists them in the store.

    They are written in a thread. Beyond `limit_bytes` the oldest are deleted. A write error is
    raised by the next call, as OSError.
    """

    def __init__(
        self, store: Store, limit_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._limit, self._clock = store, limit_bytes, clock
        self._folder = store.path.parent
        (self._folder / _FOLDER).mkdir(exist_ok=True)
        self._taken_s: dict[tuple[str, str], float] = {}
        self._writer = ImageWriter("samples", _QUEUED, self._write)

    @property
    def name(self) -> str:
        return str(self._folder / _FOLDER)

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        if evidence.image is not None and (kind := self._kind(inspection)):
            if not self._writer.is_full:
                self._taken_s[inspection.camera, kind] = self._clock()
                self._writer.put((inspection, kind, evidence.image.copy()))
        self._writer.raise_late_error()

    def wait_for_room(self) -> None:
        self._writer.wait_for_room()

    def close(self) -> None:
        """Write the queued images."""
        self._writer.close()
        self._writer.raise_late_error()

    def _kind(self, inspection: Inspection) -> str:
        """Return why to keep this frame, empty for no reason."""
        if inspection.verdict is Verdict.INVALID:
            return ""
        border = inspection.threshold - _BORDER * abs(inspection.threshold)
        if inspection.verdict is Verdict.REJECT and self._is_due(inspection, "reject"):
            return "reject"
        near = inspection.verdict is Verdict.PASS and inspection.score >= border
        if near and self._is_due(inspection, "borderline"):
            return "borderline"
        return "random" if self._is_due(inspection, "random") else ""

    def _is_due(self, inspection: Inspection, kind: str) -> bool:
        before = self._taken_s.get((inspection.camera, kind), -math.inf)
        return self._clock() - before >= _EVERY_S[kind]

    def _write(self, job: tuple[Inspection, str, Image]) -> None:
        inspection, kind, image = job
        file = f"{_FOLDER}/part-{inspection.part:08d}-{kind}.png"
        data = encode_image(image, ".png")
        write_bytes(self._folder / file, data)
        sample = KeptSample(
            part=inspection.part,
            camera=inspection.camera,
            time_utc=inspection.time_utc,
            kind=kind,
            score=inspection.score,
            threshold=inspection.threshold,
            file=file,
            bytes=len(data),
        )
        add = partial(add_sample, sample=sample, folder=self._folder, limit=self._limit)
        if not self._store.put(add, 0):  # unlisted, it would never be deleted
            (self._folder / file).unlink(missing_ok=True)
