"""Turn one grab into one inspection: gate, preprocess, engine, threshold."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from edge_ad.engine import Engine, OverlappingEngine, Prediction
from edge_ad.errors import UsageError
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
    """An inspection with its evidence and times in seconds.

    `latency_s` runs to the verdict from the frame's trigger, else from a live frame's capture, or
    from a file's turn; `engine_s` is the part of it spent in the engine or waiting for it. The map
    of the evidence may be the engine's own array, which the next inference overwrites: copy it to
    keep it.
    """

    inspection: Inspection
    evidence: Evidence
    latency_s: float = 0.0
    engine_s: float = 0.0


def _latency_began_s(grab: Grab) -> float:
    return grab.captured_s if grab.triggered_s is None else grab.triggered_s


@dataclass(frozen=True, slots=True)
class InFlight:
    """A grab whose inspection has begun: it has a `batch`, or a `fault` instead.

    Its latency began at `since`, on the clock of `time.perf_counter`.
    """

    grab: Grab
    since: float
    batch: Image | None = None
    fault: str = ""


class Inspector:
    """Inspects the frames of one camera, with its own engine or as a client of a shared one.

    With `overlap` and an OverlappingEngine, `begin` starts the engine on a frame, and up to two
    frames may be in flight before `finish` is called for the first.

    `camera` is the name in its inspections; without one it is the frames' source. A verdict that
    takes longer than `verdict_within_s` is INVALID.

    `thresholds` may be replaced at any time: they hold from the next verdict.

    An image file that the geometry does not fit is INVALID; `misfit` is the last such error.
    """

    misfit: UsageError | None = None

    def __init__(
        self,
        engine: Engine,
        thresholds: Thresholds,
        gate: FrameGate,
        *,
        geometry: Geometry | None = None,
        overlap: bool = False,
        camera: str = "",
        verdict_within_s: float = math.inf,
    ) -> None:
        self._camera = camera
        self._within_s = verdict_within_s
        self._engine, self._gate = engine, gate
        self.thresholds = thresholds
        self._scorer = Scorer(engine, geometry)
        self._overlapping = engine if overlap and isinstance(engine, OverlappingEngine) else None

    @property
    def overlaps(self) -> bool:
        """Whether `begin` may be called for a second frame before the first is finished."""
        return self._overlapping is not None

    def reopened(self) -> None:
        """Note that the camera was opened again."""
        self._gate.reopened()

    def __call__(self, grab: Grab) -> InspectedFrame:
        """Inspect one grab. Raises UsageError when the geometry does not fit a camera's frame."""
        return self.finish(self.begin(grab))

    def begin(self, grab: Grab) -> InFlight:
        """Check and preprocess a grab, and start an overlapping engine on it."""
        age_s = time.monotonic() - _latency_began_s(grab) if self._gate.live else 0.0
        since = time.perf_counter() - age_s
        fault = grab.reason if isinstance(grab, BadFrame) else self._gate.fault(grab)
        if isinstance(grab, BadFrame) or fault:
            return InFlight(grab, since, fault=fault)
        try:
            batch = self._scorer.preprocess(grab.image)
        except UsageError as error:
            if not grab.file:  # a camera's frames all have one size
                raise
            self.misfit = error
            return InFlight(grab, since, fault=str(error))
        if self._overlapping is not None:
            self._overlapping.submit(batch)
        return InFlight(grab, since, batch)

    def finish(self, in_flight: InFlight) -> InspectedFrame:
        """Return the verdict on a grab; with overlap, call it in the order of `begin`."""
        grab = in_flight.grab
        if isinstance(grab, BadFrame):
            return InspectedFrame(self._invalid(grab, in_flight.fault), Evidence())
        if in_flight.batch is None:
            return InspectedFrame(self._invalid(grab, in_flight.fault), Evidence(grab.image))
        engine_began = time.perf_counter()
        prediction = self._infer(in_flight.batch)
        engine_s = time.perf_counter() - engine_began
        inspection, anomaly_map = self._decide(grab, prediction)
        latency_s = time.perf_counter() - in_flight.since
        if latency_s > self._within_s:
            late = f"late: the verdict took {latency_s:.3g} s, the limit is {self._within_s:g} s"
            inspection, anomaly_map = self._invalid(grab, late), None
        return InspectedFrame(inspection, Evidence(grab.image, anomaly_map), latency_s, engine_s)

    def _infer(self, batch: Image) -> Prediction:
        if self._overlapping is not None:
            return self._overlapping.collect()
        return self._engine.infer(batch)

    def _decide(self, frame: Frame, prediction: Prediction) -> tuple[Inspection, AnomalyMap | None]:
        hw = (frame.image.shape[0], frame.image.shape[1])
        score, anomaly_map = self._scorer.read(prediction, hw)
        if math.isnan(score):
            return self._invalid(frame, "the engine output contains NaN or Inf"), None
        thresholds = self.thresholds  # one for the whole verdict
        rejected = score > thresholds.image
        inspection = Inspection(
            verdict=Verdict.REJECT if rejected else Verdict.PASS,
            score=score,
            threshold=thresholds.image,
            regions=find_regions(anomaly_map, thresholds.pixel) if rejected else (),
            frame=frame.index,
            source=frame.source,
            camera=self._camera or frame.source,
            file=frame.file,
        )
        return inspection, anomaly_map

    def _invalid(self, grab: Grab, reason: str) -> Inspection:
        return Inspection(
            verdict=Verdict.INVALID,
            score=_NO_SCORE,
            threshold=self.thresholds.image,
            frame=grab.index,
            source=grab.source,
            camera=self._camera or grab.source,
            file=grab.file,
            reason=reason,
        )
