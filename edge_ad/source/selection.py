"""Which of a source's frames are worth keeping as images of good parts."""

from __future__ import annotations

from collections import Counter
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from edge_ad.frame import BadFrame, Grab, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.preprocess import Preprocess

_THUMB_HW = (48, 64)  # small enough that sensor noise averages out, large enough to see a part move


class Fate(str, Enum):
    """What becomes of one grab."""

    KEPT = "kept"
    INVALID = "invalid"
    SKIPPED = "skipped"
    DUPLICATE = "duplicate"


class Selection:
    """Keeps every n-th frame, or one every t seconds, unless it repeats one kept before.

    Two frames are near-duplicates when small versions of their judged part (the region of
    interest) differ by less than `min_difference` grey levels on average. Frames that cannot be
    judged (black, frozen, torn) are never kept. Raises UsageError when the region of interest does
    not fit the frame.
    """

    def __init__(
        self,
        *,
        live: bool,
        every: int = 1,
        every_s: float = 0.0,
        min_difference: float = 2.0,
        geometry: Geometry | None = None,
    ) -> None:
        self.counts: Counter[Fate] = Counter()
        self.last_fault = ""
        self._every, self._every_s = every, every_s
        self._min_difference = min_difference
        self._gate = FrameGate(live=live)
        roi = geometry.roi_xywh if geometry else None
        self._preprocess = Preprocess(_THUMB_HW, Geometry(roi_xywh=roi))
        self._kept: list[NDArray[np.int16]] = []
        self._kept_s = float("-inf")
        self._valid = 0

    def judge(self, grab: Grab) -> Fate:
        """Decide on the next grab, and count it."""
        fate = self._fate(grab)
        self.counts[fate] += 1
        return fate

    def _fate(self, grab: Grab) -> Fate:
        fault = grab.reason if isinstance(grab, BadFrame) else self._gate.fault(grab)
        if isinstance(grab, BadFrame) or fault:
            self.last_fault = fault
            return Fate.INVALID
        self._valid += 1
        if (self._valid - 1) % self._every or grab.captured_s - self._kept_s < self._every_s:
            return Fate.SKIPPED
        thumb = self._thumb(grab.image)
        if self._min_difference > 0 and self._nearest(thumb) < self._min_difference:
            return Fate.DUPLICATE
        self._kept.append(thumb)
        self._kept_s = grab.captured_s
        return Fate.KEPT

    def _thumb(self, image: Image) -> NDArray[np.int16]:
        return np.asarray(self._preprocess(image)[0], np.int16)

    def _nearest(self, thumb: NDArray[np.int16]) -> float:
        """Mean absolute difference to the most similar image kept; newest first, as they repeat
        most."""
        nearest = float("inf")
        for kept in reversed(self._kept):
            nearest = min(nearest, float(np.abs(kept - thumb).mean()))
            if nearest < self._min_difference:
                break
        return nearest
