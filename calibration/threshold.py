"""Thresholds from good pictures alone, with a promise that holds whatever law the scores follow.

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
from numpy.typing import NDArray

from edge_ad.engine import Engine
from edge_ad.errors import DataError, GateFailed
from edge_ad.frame import Image
from edge_ad.geometry import Geometry
from edge_ad.inspection import rescore
from edge_ad.manifest import Threshold
from edge_ad.preprocess import Preprocess

_THUMB = (32, 32)
_SAME = 1.0  # grey levels, root mean square: a picture and its recompressed copy differ by less


@dataclass(frozen=True, slots=True)
class Promise:
    """At most `rate` of normal frames are rejected, with probability `confidence`."""

    rate: float
    confidence: float


@dataclass
class GoodScores:
    """What good pictures score, one entry a distinct picture.

    `image` holds image scores, `pixel` the maps' maxima; `repeats` pairs a near-duplicate with the
    picture it repeats. Repeats are not independent, so they support no promise and are left out.
    """

    names: list[str] = field(default_factory=list)
    image: list[float] = field(default_factory=list)
    pixel: list[float] = field(default_factory=list)
    repeats: list[tuple[str, str]] = field(default_factory=list)


def score_good(
    engine: Engine, pictures: Iterable[tuple[str, Image]], geometry: Geometry | None = None
) -> GoodScores:
    """Score named good pictures as the line does. Raises DataError when there is none."""
    used = geometry or engine.manifest.geometry
    preprocess = Preprocess(engine.manifest.size_hw, used)
    found, thumbs = GoodScores(), _Thumbs()
    for name, image in pictures:
        if (twin := thumbs.repeated(name, image)) is not None:
            found.repeats.append((name, twin))
            continue
        score, peak = _score(engine, preprocess, image)
        found.names.append(name)
        found.image.append(score)
        found.pixel.append(peak)
    if not found.names:
        raise DataError("no good picture to set a threshold from.")
    if not np.isfinite([*found.image, *found.pixel]).all():
        raise DataError("a good picture scores no number; the detector is broken, or all ignored.")
    return found


def threshold_for(scores: GoodScores, promise: Promise, data_sha256: str = "") -> Threshold:
    """The lowest thresholds that keep the promise, for images and for maps.

    Raises GateFailed, with what is needed and what the data supports, when none does.
    """
    count = len(scores.image)
    rank = largest_rank(count, promise)
    if rank == 0:
        best = supported_rate(count, promise.confidence)
        raise GateFailed(
            f"{count} good pictures cannot promise a false-alarm rate of {promise.rate:g} with "
            f"confidence {promise.confidence:g}: that needs {images_needed(promise)} of them, "
            f"independent and without near-duplicates. These support {best:.2g} at best: collect "
            f"more, ask for --false-alarm-rate {_rounded_up(best):g}, or give --at-best."
        )
    return Threshold(
        image=_ranked(scores.image, rank),
        pixel=_ranked(scores.pixel, rank),
        false_alarm_rate=promise.rate,
        confidence=promise.confidence,
        images=count,
        data_sha256=data_sha256,
    )


def best_promise(images: int, promise: Promise) -> Promise:
    """The promise itself if so many pictures can keep it, else the nearest rate they can."""
    if largest_rank(images, promise):
        return promise
    return Promise(_rounded_up(supported_rate(images, promise.confidence)), promise.confidence)


def largest_rank(images: int, promise: Promise) -> int:
    """The greatest m whose m-th largest score keeps the promise; 0 when not even the maximum."""
    rank, below = 0, _binomial(images, 0, promise.rate)
    while rank < images and 1 - below >= promise.confidence:
        rank += 1
        below += _binomial(images, rank, promise.rate)
    return rank


def images_needed(promise: Promise) -> int:
    """How many independent good pictures it takes for their maximum to keep the promise."""
    return math.ceil(math.log1p(-promise.confidence) / math.log1p(-promise.rate))


def supported_rate(images: int, confidence: float) -> float:
    """The lowest rate that the maximum of so many scores can promise."""
    return -math.expm1(math.log1p(-confidence) / images)


def _binomial(n: int, k: int, p: float) -> float:
    """P(Binomial(n, p) = k), by logarithms since n may be many thousands."""
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def _rounded_up(rate: float) -> float:
    """Two significant digits, never less than the rate itself."""
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return min(0.999, math.ceil(rate / step - 1e-9) * step)


def _ranked(scores: Sequence[float], rank: int) -> float:
    return float(np.partition(scores, len(scores) - rank)[len(scores) - rank])


def _score(engine: Engine, preprocess: Preprocess, image: Image) -> tuple[float, float]:
    """Image score and the map's maximum, with ignored polygons left out of both."""
    frame_hw = (image.shape[0], image.shape[1])
    prediction = engine.infer(preprocess(image))
    peak = float(preprocess.stitch(prediction.maps, frame_hw).values.max())
    if not preprocess.geometry.ignore:
        return float(prediction.scores.max()), peak
    ignored = preprocess.tile_ignored(frame_hw)
    return rescore(prediction.maps, ignored, engine.manifest.score), peak


class _Thumbs:
    """Remembers pictures at 32 x 32 to recognise one that comes again."""

    def __init__(self) -> None:
        self._shrink = Preprocess(_THUMB)
        self._names: list[str] = []
        self._seen = np.empty((0, _THUMB[0] * _THUMB[1] * 3), np.float32)

    def repeated(self, name: str, image: Image) -> str | None:
        """The name of an earlier picture that is this one again, or None."""
        thumb = self._shrink(image).reshape(1, -1).astype(np.float32)
        if self._names:
            distance = np.sqrt(self._squares(thumb) / thumb.size)
            if distance.min() < _SAME:
                return self._names[int(distance.argmin())]
        self._names.append(name)
        self._append(thumb)
        return None

    def _squares(self, thumb: NDArray[np.float32]) -> NDArray[np.float32]:
        difference = self._seen[: len(self._names)] - thumb
        return np.asarray(np.einsum("ij,ij->i", difference, difference))

    def _append(self, thumb: NDArray[np.float32]) -> None:
        """Grow by doubling: thousands of pictures must not copy the store each time."""
        count = len(self._names)
        if count > len(self._seen):
            grown = np.empty((max(64, 2 * count), thumb.size), np.float32)
            grown[: count - 1] = self._seen[: count - 1]
            self._seen = grown
        self._seen[count - 1] = thumb
