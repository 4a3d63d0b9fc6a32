"""Keep the latest verdict of each camera, and its frame while somebody looks.

Nothing is copied or scaled in a camera's thread. When somebody asks, frames are made small in the
thread of that connection, in a small share of the time for all of them together: with many or large
frames they come less often. Whoever asks encodes them, in a process of their own.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import Image, from_grey, pixels_of
from edge_ad.inspection import Inspection
from edge_ad.outlet.base import Evidence, Outlet

_LOOKS_FOR_S = 3.0  # after the last question
_SHOWN_FOR_S = 5.0  # a frame whose part is not the latest
_WIDTH_PX = 640
_SHARE = 0.02  # of the time, in which frames are made small
_AT_ONCE_S = 0.02  # after a while without
_SERIAL_PX = 1 << 16  # of a result, up to which cv2.resize takes one thread


@dataclass(slots=True)
class _Latest:
    inspection: Inspection
    image: Image | None
    hw: tuple[int, int] | None
    small: Image | None = None
    scaled_s: float = 0.0


class Allowance:
    """A share of the time, at most `at_once_s` of it saved up. One use may exceed what is left."""

    def __init__(self, share: float, at_once_s: float, clock: Callable[[], float]) -> None:
        self._share, self._at_once_s, self._clock = share, at_once_s, clock
        self._left_s, self._counted_s = at_once_s, clock()

    def refill(self) -> None:
        """Add the share of the time since the last call."""
        now_s = self._clock()
        gained_s = self._share * (now_s - self._counted_s)
        self._left_s, self._counted_s = min(self._left_s + gained_s, self._at_once_s), now_s

    def is_left(self) -> bool:
        """Return whether something may be done now."""
        return self._left_s > 0

    @contextmanager
    def used(self) -> Iterator[None]:
        """Take the time that this lasts."""
        began_s = self._clock()
        yield
        self._left_s -= self._clock() - began_s


class LatestFrames(Outlet):
    """The latest inspection of each camera. Without anybody who asks, no frame is kept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._latest: dict[str, _Latest] = {}
        self._scaled: dict[str, _Latest] = {}  # the last of each camera whose frame is small
        self._clock, self._until_s = clock, -math.inf
        self._allowance, self._lock = Allowance(_SHARE, _AT_ONCE_S, clock), threading.Lock()

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        image = evidence.image
        hw = None if image is None else (image.shape[0], image.shape[1])
        looks = self._clock() < self._until_s
        self._latest[inspection.camera] = _Latest(inspection, image if looks else None, hw)

    def close(self) -> None:
        self._latest, self._scaled = {}, {}

    def records(
        self, known: Mapping[str, int] | None
    ) -> tuple[dict[str, dict[str, Any]], dict[str, Image]]:
        """Return the latest inspection of each camera as JSON values, and frames made small.

        `known` is the part that the one who asks has of each camera; a later one comes with its
        frame. A camera whose frame has to wait has the inspection before, with that one's frame.
        None asks for no frames.
        """
        latest = dict(self._latest)
        if known is None:
            return {camera: _record(each) for camera, each in latest.items()}, {}
        with self._lock:
            self._begin_to_look()
            self._scale(latest)
            shown = {camera: self._shown(camera, each) for camera, each in latest.items()}
        frames = {
            camera: each.small
            for camera, each in shown.items()
            if each.small is not None and each.inspection.part != known.get(camera)
        }
        return {camera: _record(each) for camera, each in shown.items()}, frames

    def _begin_to_look(self) -> None:
        now_s = self._clock()
        if now_s >= self._until_s:
            self._scaled.clear()  # of another time
        self._until_s = now_s + _LOOKS_FOR_S
        self._allowance.refill()

    def _scale(self, latest: Mapping[str, _Latest]) -> None:
        """Make frames small while time is left, those first whose cameras wait longest."""

        def last_s(camera: str) -> float:
            before = self._scaled.get(camera)
            return -math.inf if before is None else before.scaled_s

        for camera in sorted(latest, key=last_s):
            each = latest[camera]
            if each.image is None or each.small is not None:
                continue
            if not self._allowance.is_left():
                return
            with self._allowance.used():
                each.small = _small(each.image)
            each.scaled_s = self._clock()
            self._scaled[camera] = each

    def _shown(self, camera: str, latest: _Latest) -> _Latest:
        """Return the latest inspection, or the one before while the latest's frame has to wait."""
        before = self._scaled.get(camera)
        if latest.image is None or latest.small is not None or before is None:
            return latest
        return before if self._clock() - before.scaled_s < _SHOWN_FOR_S else latest


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


def _small(image: Image) -> Image:
    """Return a frame by a whole number of times smaller, made by this thread alone.

    OpenCV spreads a large result over its threads, and those are for judging.
    """
    small = _shrunk(pixels_of(image))
    return from_grey(small) if small.ndim == 2 else small


def _shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    times = max(1, min(-(-image.shape[1] // _WIDTH_PX), image.shape[0]))
    height, width = image.shape[0] // times, image.shape[1] // times
    small, rows = np.empty((height, width, *image.shape[2:]), np.uint8), max(1, _SERIAL_PX // width)
    for top in range(0, height, rows):
        band = image[top * times : min(top + rows, height) * times, : width * times]
        size = (width, len(band) // times)
        small[top : top + rows] = cv2.resize(band, size, interpolation=cv2.INTER_AREA)
    return small
