"""One grab becomes one inspection: gate, preprocess, engine, threshold."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from edge_ad.alarm.sink import Seen
from edge_ad.engine import Engine, Prediction
from edge_ad.errors import UsageError
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.geometry import Geometry
from edge_ad.health import FrameGate
from edge_ad.inspection import Inspection, Verdict, find_regions, rescore
from edge_ad.preprocess import Preprocess

_NO_SCORE = float("nan")


@dataclass(frozen=True, slots=True)
class Limits:
    """Raw scores above `image` reject a frame; map values above `pixel` are its regions."""

    image: float
    pixel: float


@dataclass(frozen=True, slots=True)
class Judged:
    """An inspection, what led to it, and the engine's share of the time in seconds."""

    inspection: Inspection
    seen: Seen
    engine_s: float = 0.0


class Judge:
    """Judges the frames of one camera. Several judges may share an engine and its `lock`."""

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        gate: FrameGate,
        *,
        geometry: Geometry | None = None,
        lock: threading.Lock | None = None,
    ) -> None:
        manifest = engine.manifest
        self._engine, self._limits, self._gate = engine, limits, gate
        self._geometry = geometry or manifest.geometry
        self._preprocess = Preprocess(manifest.size_hw, self._geometry)
        self._lock = lock or threading.Lock()

    def __call__(self, grab: Grab) -> Judged:
        """Judge one grab. Raises UsageError when the geometry does not fit the frame."""
        if isinstance(grab, BadFrame):
            return Judged(self._invalid(grab, grab.reason), Seen())
        if fault := self._gate.fault(grab):
            return Judged(self._invalid(grab, fault), Seen(grab.image))
        batch = self._preprocess(grab.image)
        with self._lock:  # the engine's arrays are its own until the next call
            began = time.perf_counter()
            prediction = self._engine.infer(batch)
            engine_s = time.perf_counter() - began
            return self._decide(grab, prediction, engine_s)

    def _decide(self, frame: Frame, prediction: Prediction, engine_s: float) -> Judged:
        hw = (frame.image.shape[0], frame.image.shape[1])
        anomaly_map = self._preprocess.stitch(prediction.maps, hw)
        score = self._score(prediction, hw)
        rejected = score > self._limits.image
        inspection = Inspection(
            frame=frame.index,
            source=frame.source,
            score=score,
            threshold=self._limits.image,
            verdict=Verdict.REJECT if rejected else Verdict.PASS,
            regions=find_regions(anomaly_map, self._limits.pixel) if rejected else (),
            file=frame.file,
        )
        return Judged(inspection, Seen(frame.image, anomaly_map), engine_s)

    def _score(self, prediction: Prediction, frame_hw: tuple[int, int]) -> float:
        """The graph's own score, unless part of its map is to be ignored."""
        if not self._geometry.ignore:
            return float(prediction.scores.max())
        ignored = self._preprocess.tile_ignored(frame_hw)
        if ignored.all():
            raise UsageError("the ignored polygons cover all that is judged. Shrink --ignore.")
        return rescore(prediction.maps, ignored, self._engine.manifest.score)

    def _invalid(self, grab: Grab, reason: str) -> Inspection:
        return Inspection(
            frame=grab.index,
            source=grab.source,
            score=_NO_SCORE,
            threshold=self._limits.image,
            verdict=Verdict.INVALID,
            reason=reason,
            file=grab.file,
        )
