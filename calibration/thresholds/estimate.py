"""Thresholds from good images alone, with a promise that holds whatever law the scores follow.

Of n independent normal scores let t be the m-th largest. The share of all normal parts that score
above t is Beta(m, n - m + 1) distributed for every continuous law, and smaller when scores tie, so

    P(share above t <= rate) >= P(Binomial(n, rate) >= m)

(order statistics; Wilks, "Determination of sample sizes for setting tolerance limits", 1941). A
frame is rejected when its score lies strictly above the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_ad.dedup import Deduplicator
from edge_ad.engine import Engine
from edge_ad.errors import DataError, GateFailed
from edge_ad.frame import Frame, Image
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.manifest import Threshold
from edge_ad.scoring import Scorer

_ROUNDING = 1e-9  # of sums and logarithms in floating point


@dataclass(frozen=True, slots=True)
class Guarantee:
    """At most `rate` of normal frames are rejected, with probability `confidence`."""

    rate: float
    confidence: float


@dataclass
class NormalScores:
    """What good images score, one entry a distinct image.

    `image` holds image scores, `pixel` the maps' maxima. `repeats` pairs a near-duplicate with the
    image it repeats: the two are not independent, so they count once, with the higher score.
    `left_out` are images that the line would call INVALID, with the reason. `geometry` is what
    they were scored with.
    """

    names: list[str] = field(default_factory=list)
    image: list[float] = field(default_factory=list)
    pixel: list[float] = field(default_factory=list)
    repeats: list[tuple[str, str]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    geometry: Geometry | None = None

    def add(self, name: str, score: float, peak: float, twin: int | None) -> None:
        """Note an image; `twin` is the number of the distinct image it repeats, if any."""
        if twin is None:
            self.names.append(name)
            self.image.append(score)
            self.pixel.append(peak)
            return
        self.repeats.append((name, self.names[twin]))
        self.image[twin] = max(self.image[twin], score)
        self.pixel[twin] = max(self.pixel[twin], peak)

    def highest(self, count: int = 3) -> list[tuple[str, float]]:
        """The images that scored highest: what to look at when a threshold seems too high."""
        ranked = sorted(zip(self.names, self.image, strict=True), key=lambda one: -one[1])
        return ranked[:count]


def score_normal(
    engine: Engine, images: Iterable[tuple[str, Image]], geometry: Geometry | None = None
) -> NormalScores:
    """Score named good images as the line does. Raises DataError when none can be judged."""
    used = geometry or engine.manifest.geometry
    scorer, distinct = Scorer(engine, used), Deduplicator(used)
    found, gate = NormalScores(geometry=used), FrameGate(live=False)
    for name, image in images:
        if fault := gate.fault(Frame(image, 0, 0.0, "", name)):
            found.left_out[name] = fault
            continue
        score, values = scorer(image)
        found.add(name, score, float(values.max()), distinct.repeats(image))
    if not found.names:
        raise DataError(f"no good image to set a threshold from{_first(found.left_out)}.")
    return found


def threshold_for(scores: NormalScores, promise: Guarantee, data_sha256: str = "") -> Threshold:
    """The lowest thresholds that keep the promise, for images and for maps.

    Raises GateFailed, with what is needed and what the data supports, when none does.
    """
    count = len(scores.image)
    rank = largest_rank(count, promise)
    if rank == 0:
        best = supported_rate(count, promise.confidence)
        raise GateFailed(
            f"{_told(count)} cannot promise a false-alarm rate of {promise.rate:g} with "
            f"confidence {promise.confidence:g}: that needs {images_needed(promise)} of them, "
            f"independent and without near-duplicates. These support {_rounded_up(best):g} at "
            f"best: collect more, ask for --false-alarm-rate {_rounded_up(best):g}, or give "
            "--at-best.",
            figures(count, promise),
        )
    return Threshold(
        image=_ranked(scores.image, rank),
        pixel=_ranked(scores.pixel, rank),
        false_alarm_rate=promise.rate,
        confidence=promise.confidence,
        images=count,
        data_sha256=data_sha256,
        geometry=scores.geometry,
    )


def best_guarantee(images: int, promise: Guarantee) -> Guarantee:
    """The promise itself if so many images can keep it, else the nearest rate they can."""
    if largest_rank(images, promise):
        return promise
    return Guarantee(_rounded_up(supported_rate(images, promise.confidence)), promise.confidence)


def largest_rank(images: int, promise: Guarantee) -> int:
    """The greatest m whose m-th largest score keeps the promise; 0 when not even the maximum."""
    rank, below = 0, _binomial(images, 0, promise.rate)
    while rank < images and 1 - below >= promise.confidence - _ROUNDING:
        rank += 1
        below += _binomial(images, rank, promise.rate)
    return rank


def images_needed(promise: Guarantee) -> int:
    """How many independent good images it takes for their maximum to keep the promise."""
    exact = math.log1p(-promise.confidence) / math.log1p(-promise.rate)
    return max(1, math.ceil(exact - _ROUNDING))


def supported_rate(images: int, confidence: float) -> float:
    """The lowest rate that the maximum of so many scores can promise."""
    return -math.expm1(math.log1p(-confidence) / images)


def figures(images: int, promise: Guarantee) -> dict[str, float]:
    """What so many images can promise beside what was asked."""
    return {
        "images": images,
        "asked_rate": promise.rate,
        "needed": images_needed(promise),
        "supported": supported_rate(images, promise.confidence),
    }


def _binomial(n: int, k: int, p: float) -> float:
    """P(Binomial(n, p) = k), by logarithms since n may be many thousands."""
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def _rounded_up(rate: float) -> float:
    """Two significant digits, never less than the rate itself."""
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return min(0.999, float(f"{math.ceil(rate / step - 1e-9) * step:.2g}"))


def _told(count: int) -> str:
    return "one good image" if count == 1 else f"{count} good images"


def _first(left_out: dict[str, str]) -> str:
    if not left_out:
        return ""
    name, why = next(iter(left_out.items()))
    return f": the line would judge none of the {len(left_out)}, like {name}, which is {why}"


def _ranked(scores: Sequence[float], rank: int) -> float:
    return float(np.partition(scores, len(scores) - rank)[len(scores) - rank])
