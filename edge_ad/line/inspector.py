"""One grab becomes one inspection: gate, preprocess, engine, threshold."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from edge_ad.engine import Engine, OverlappingEngine, Prediction
from edge_ad.frame import BadFrame, Frame, Grab, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.inspection import Inspection, Verdict, find_regions
from edge_ad.outlet.base import Evidence
from edge_ad.preprocess import AnomalyMap
from edge_ad.scoring import Scorer

_NO_SCORE = float("nan")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Raw scores above `image` reject a frame; map values above `pixel` are its regions."""

    image: float
    pixel: float


@dataclass(frozen=True, slots=True)
class InspectedFrame:
    """An inspection and what led to it.

    Seconds: `latency_s` to the verdict, from a live frame's capture or a file's turn; `engine_s` of
    it spent on the engine, or waiting for it.
    """

    inspection: Inspection
    seen: Evidence
    latency_s: float = 0.0
    engine_s: float = 0.0


@dataclass(frozen=True, slots=True)
class InFlight:
    """A grab on its way: its batch is under way, unless there was a `fault` instead.

    `since` is when its latency began, on the clock of `time.perf_counter`.
    """

    grab: Grab
    since: float
    batch: Image | None = None
    fault: str = ""


class Inspector:
    """Judges the frames of one camera by an engine of its own, or by its seat at a shared one.

    With `overlap` and an OverlappingEngine, `begin` starts it on a frame, and up to two frames may
    be begun before `finish` is called for the first.
    """

    def __init__(
        self,
        engine: Engine,
        limits: Thresholds,
        gate: FrameGate,
        *,
        geometry: Geometry | None = None,
        overlap: bool = False,
    ) -> None:
        self._engine, self._limits, self._gate = engine, limits, gate
        self._scorer = Scorer(engine, geometry)
        self._overlapping = engine if overlap and isinstance(engine, OverlappingEngine) else None

    @property
    def overlaps(self) -> bool:
        return self._overlapping is not None

    def __call__(self, grab: Grab) -> InspectedFrame:
        """Judge one grab. Raises UsageError when the geometry does not fit the frame."""
        return self.finish(self.begin(grab))

    def begin(self, grab: Grab) -> InFlight:
        """Gate and preprocess a grab, and start an overlapping engine on it."""
        waited = time.monotonic() - grab.captured_s if self._gate.live else 0.0
        since = time.perf_counter() - waited
        fault = grab.reason if isinstance(grab, BadFrame) else self._gate.fault(grab)
        if isinstance(grab, BadFrame) or fault:
            return InFlight(grab, since, fault=fault)
        batch = self._scorer.preprocess(grab.image)
        if self._overlapping is not None:
            self._overlapping.submit(batch)
        return InFlight(grab, since, batch)

    def finish(self, begun: InFlight) -> InspectedFrame:
        """The verdict on a grab that was begun; with overlap, in the order of beginning."""
        grab = begun.grab
        if begun.batch is None or isinstance(grab, BadFrame):
            seen = Evidence() if isinstance(grab, BadFrame) else Evidence(grab.image)
            return InspectedFrame(self._invalid(grab, begun.fault), seen)
        began = time.perf_counter()
        prediction = self._answer(begun.batch)
        engine_s = time.perf_counter() - began
        inspection, anomaly_map = self._decide(grab, prediction)
        latency_s = time.perf_counter() - begun.since
        return InspectedFrame(inspection, Evidence(grab.image, anomaly_map), latency_s, engine_s)

    def _answer(self, batch: Image) -> Prediction:
        if self._overlapping is not None:
            return self._overlapping.collect()
        return self._engine.infer(batch)

    def _decide(self, frame: Frame, prediction: Prediction) -> tuple[Inspection, AnomalyMap | None]:
        hw = (frame.image.shape[0], frame.image.shape[1])
        score, anomaly_map = self._scorer.read(prediction, hw)
        if math.isnan(score):
            return self._invalid(frame, "the engine's answer holds what is no number"), None
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
        return inspection, anomaly_map

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
