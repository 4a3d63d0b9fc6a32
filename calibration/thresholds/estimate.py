"""Estimate thresholds from normal images alone.

A frame is rejected when its score lies strictly above the threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_ad.calibration.thresholds.guarantee import (
    Guarantee,
    figures,
    images_needed,
    largest_rank,
    rounded_up,
    supported_rate,
)
from edge_ad.dedup import Deduplicator
from edge_ad.engine import Engine
from edge_ad.errors import DataError, GateFailed
from edge_ad.frame import Frame, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.manifest import Threshold
from edge_ad.scoring import Scorer


@dataclass
class NormalScores:
    """Scores of normal images, one entry for each distinct image.

    `image` holds image scores, `pixel` the maps' maxima. `repeats` pairs a near-duplicate with the
    image it repeats: the two are not independent, so they count once, with the higher score.
    `left_out` maps images that the line would call INVALID to the reason. `geometry` is the one
    they were scored with.
    """

    names: list[str] = field(default_factory=list)
    image: list[float] = field(default_factory=list)
    pixel: list[float] = field(default_factory=list)
    repeats: list[tuple[str, str]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    geometry: Geometry = field(default_factory=Geometry)

    def add(self, name: str, score: float, peak: float, duplicate_of: int | None) -> None:
        """Add an image; `duplicate_of` is the number of the distinct image it repeats, if any."""
        if duplicate_of is None:
            self.names.append(name)
            self.image.append(score)
            self.pixel.append(peak)
            return
        self.repeats.append((name, self.names[duplicate_of]))
        self.image[duplicate_of] = max(self.image[duplicate_of], score)
        self.pixel[duplicate_of] = max(self.pixel[duplicate_of], peak)

    def highest(self, count: int = 3) -> list[tuple[str, float]]:
        """Return the highest-scoring images: those to check when a threshold seems too high."""
        ranked = sorted(zip(self.names, self.image, strict=True), key=lambda item: -item[1])
        return ranked[:count]


def score_normal(
    engine: Engine, images: Iterable[tuple[str, Image]], geometry: Geometry | None = None
) -> NormalScores:
    """Score named normal images as on the line. Raises DataError when none can be judged."""
    geometry = geometry or engine.manifest.geometry
    scorer, deduplicator = Scorer(engine, geometry), Deduplicator(geometry)
    scores, gate = NormalScores(geometry=geometry), FrameGate(live=False)
    for name, image in images:
        if fault := gate.fault(Frame(image, 0, 0.0, "", name)):
            scores.left_out[name] = fault
            continue
        score, values = scorer(image)
        scores.add(name, score, float(values.max()), deduplicator.repeats(image))
    if not scores.names:
        raise DataError(
            f"no normal image to set a threshold from{_first_reason(scores.left_out)}. "
            "Give images of good parts that the camera took in normal light."
        )
    return scores


def threshold_for(scores: NormalScores, guarantee: Guarantee, data_sha256: str = "") -> Threshold:
    """Return the lowest thresholds that keep the guarantee, for images and for maps.

    Raises GateFailed, with what is needed and what the data supports, when none does.
    """
    count = len(scores.image)
    rank = largest_rank(count, guarantee)
    if rank == 0:
        raise GateFailed(_too_few(count, guarantee), figures(count, guarantee))
    return Threshold(
        image=_ranked(scores.image, rank),
        pixel=_ranked(scores.pixel, rank),
        false_alarm_rate=guarantee.rate,
        confidence=guarantee.confidence,
        images=count,
        data_sha256=data_sha256,
        geometry=scores.geometry,
    )


def _too_few(count: int, guarantee: Guarantee) -> str:
    best = rounded_up(supported_rate(count, guarantee.confidence))
    images = "one normal image" if count == 1 else f"{count} normal images"
    return (
        f"{images} cannot guarantee a false-alarm rate of {guarantee.rate:g} with confidence "
        f"{guarantee.confidence:g}: that needs {images_needed(guarantee)} of them, independent and "
        f"without near-duplicates. These support {best:g} at best: collect more, use "
        f"--false-alarm-rate {best:g}, or give --at-best."
    )


def _first_reason(left_out: dict[str, str]) -> str:
    if not left_out:
        return ""
    name, reason = next(iter(left_out.items()))
    return f": the line would judge none of the {len(left_out)}, like {name}, which is {reason}"


def _ranked(scores: Sequence[float], rank: int) -> float:
    return float(np.partition(scores, len(scores) - rank)[len(scores) - rank])
