"""Keep the latest verdict of each camera, and its frame while somebody looks.

Nothing is copied, scaled or encoded in a camera's thread: whoever asks does that, in a thread of
their own, with the frame that was the latest when they asked.
"""

from __future__ import annotations

import base64
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np

from edge_ad.frame import Image
from edge_ad.images import encode_image
from edge_ad.inspection import Inspection
from edge_ad.outlet.base import Evidence, Outlet

_LOOKS_FOR_S = 3.0  # after the last question
_WIDTH_PX = 640
_QUALITY = 75


@dataclass(slots=True)
class _Latest:
    inspection: Inspection
    image: Image | None
    hw: tuple[int, int] | None
    jpeg: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


class LatestFrames(Outlet):
    """The latest inspection of each camera. Without anybody who asks, no frame is kept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._latest: dict[str, _Latest] = {}
        self._clock = clock
        self._until_s = -math.inf

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        image = evidence.image
        hw = None if image is None else (image.shape[0], image.shape[1])
        looks = self._clock() < self._until_s
        self._latest[inspection.camera] = _Latest(inspection, image if looks else None, hw)

    def close(self) -> None:
        self._latest = {}

    def records(self, known: Mapping[str, int] | None) -> dict[str, dict[str, Any]]:
        """Return the latest inspection of each camera as JSON values.

        `known` is the part that the one who asks has of each camera; a later one comes with
        `jpeg`, in base64. None asks for no frames.
        """
        if known is not None:
            self._until_s = self._clock() + _LOOKS_FOR_S
        records = {}
        for camera, latest in list(self._latest.items()):
            record = records[camera] = _record(latest)
            if known is not None and known.get(camera) != latest.inspection.part:
                jpeg = _jpeg(latest)
                record |= {"jpeg": jpeg} if jpeg else {}
        return records


def _record(latest: _Latest) -> dict[str, Any]:
    inspection = latest.inspection
    record: dict[str, Any] = {
        "part": inspection.part,
        "frame": inspection.frame,
        "time_utc": inspection.time_utc,
        "verdict": inspection.verdict.value,
        "threshold": inspection.threshold,
        "regions": [asdict(region) for region in inspection.regions],
    }
    if math.isfinite(inspection.score):
        record["score"] = inspection.score
    if latest.hw is not None:
        record["size_wh"] = [latest.hw[1], latest.hw[0]]
    texts = {"reason": inspection.reason, "file": inspection.file}
    return record | {name: text for name, text in texts.items() if text}


def _jpeg(latest: _Latest) -> str:
    """Return the frame as a small JPEG in base64, empty without one; it is encoded once."""
    with latest.lock:
        if latest.image is not None:
            data = encode_image(_small(latest.image), ".jpg", _QUALITY)
            latest.jpeg, latest.image = base64.b64encode(data).decode(), None
        return latest.jpeg


def _small(image: Image) -> Image:
    height, width = image.shape[:2]
    if width <= _WIDTH_PX:
        return image
    size = (_WIDTH_PX, max(1, round(height * _WIDTH_PX / width)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
