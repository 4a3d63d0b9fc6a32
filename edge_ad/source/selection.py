"""Select the frames of a source that are worth keeping as images of good parts."""

from __future__ import annotations

from collections import Counter
from enum import Enum

from edge_ad.dedup import MIN_DIFFERENCE, Deduplicator
from edge_ad.frame import BadFrame, Grab, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry

_THUMBNAIL_HW = (48, 64)  # sensor noise averages out, and a part that moves still shows


class Fate(str, Enum):
    """The outcome for one grab."""

    KEPT = "kept"
    INVALID = "invalid"
    SKIPPED = "skipped"
    DUPLICATE = "duplicate"


class Selection:
    """Keep every n-th frame, or one every t seconds, unless it repeats one kept before.

    Two frames are near-duplicates when thumbnails of their region of interest differ by less than
    `min_difference` grey levels on average. Frames that cannot be judged (black, frozen, torn) are
    never kept. Raises UsageError when the region of interest does not fit the frame.
    """

    def __init__(
        self,
        *,
        live: bool,
        every: int = 1,
        every_s: float = 0.0,
        min_difference: float = MIN_DIFFERENCE,
        geometry: Geometry | None = None,
    ) -> None:
        self.counts: Counter[Fate] = Counter()
        self.last_fault = ""
        self._every, self._every_s = every, every_s
        self._gate = FrameGate(live=live)
        self._kept = Deduplicator(
            Geometry(roi_xywh=geometry.roi_xywh if geometry else None),
            size_hw=_THUMBNAIL_HW,
            power=1,
            limit=min_difference,
        )
        self._kept_s = float("-inf")
        self._valid = 0

    def remember(self, image: Image) -> None:
        """Leave out near-duplicates of an image that was kept by an earlier capture.

        Raises UsageError when the region of interest does not fit it.
        """
        self._kept.repeats(image)

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
        if self._kept.repeats(grab.image) is not None:
            return Fate.DUPLICATE
        self._kept_s = grab.captured_s
        return Fate.KEPT
