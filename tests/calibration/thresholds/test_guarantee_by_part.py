"""The guarantee counts parts: it holds for clustered scores, and breaks when images are counted.

Scores are a part's own level plus what differs between its images, so images of one part are
alike. The rates above a threshold are exact: those of the distribution, not of another sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.calibration.thresholds.guarantee import Guarantee, best_guarantee, largest_rank
from edge_ad.calibration.thresholds.scores import NormalScores

Scores = NDArray[np.float64]
ROUNDS, CONFIDENCE = 10_000, 0.95
SLACK = 3 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / ROUNDS)  # three standard errors
POPULATION = 200_000  # parts, for the exact rates


@dataclass(frozen=True)
class Clustered:
    """Parts with `images` images each; `spread` is that within a part, 1 that between parts.

    With `light`, a part's images drift from its first to its last, by that much.
    """

    images: int
    spread: float
    light: float = 0.0

    def draw(self, rng: np.random.Generator, *shape: int) -> Scores:
        """Return scores (*shape, images) of parts."""
        part = rng.gumbel(size=(*shape, 1))
        within = self.spread * rng.standard_exponential((*shape, self.images))
        return np.asarray(part + within + self.light * np.linspace(0, 1, self.images))


CASES = {
    "one image a part": Clustered(1, 1.0),
    "exposures of a part, almost alike": Clustered(6, 0.05),
    "exposures that differ": Clustered(6, 1.0),
    "light that drifts within a part": Clustered(8, 0.1, light=2.0),
}


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize(("parts", "rate"), [(24, 0.12), (59, 0.05), (200, 0.05)])
@pytest.mark.parametrize("unit", ["part", "image"])
def test_the_stated_confidence_holds(case: str, parts: int, rate: float, unit: str) -> None:
    kept = shares_kept(case, parts, rate)[unit]
    assert kept >= CONFIDENCE - SLACK - 0.005  # the population is a sample as well
    assert kept < 0.995, "not so cautious that the threshold is useless"


@cache
def shares_kept(case: str, parts: int, rate: float) -> dict[str, float]:
    """Return how often the threshold of so many parts keeps the rate, by unit, on one draw."""
    rng = np.random.default_rng(7)
    cluster, rank = CASES[case], largest_rank(parts, Guarantee(rate, CONFIDENCE))
    assert rank >= 1
    kept = dict.fromkeys(("part", "image"), 0)
    for _ in range(10):
        drawn = cluster.draw(rng, ROUNDS // 10, parts)
        for unit in kept:
            scores = reduced(drawn, unit, rng)
            thresholds = np.partition(scores, parts - rank, axis=1)[:, parts - rank]
            below = np.searchsorted(population(case, unit), thresholds, side="right")
            kept[unit] += int((1 - below / POPULATION <= rate).sum())
    return {unit: count / ROUNDS for unit, count in kept.items()}


@cache
def population(case: str, unit: str) -> Scores:
    """Return the scores of very many parts, ascending."""
    rng = np.random.default_rng(8)
    return np.sort(reduced(CASES[case].draw(rng, POPULATION), unit, rng))


def reduced(scores: Scores, unit: str, rng: np.random.Generator) -> Scores:
    """Reduce (..., images) to the parts' highest, or to one image drawn from each."""
    if unit == "part":
        return np.asarray(scores.max(axis=-1))
    drawn = rng.integers(scores.shape[-1], size=(*scores.shape[:-1], 1))
    return np.asarray(np.take_along_axis(scores, drawn, axis=-1)[..., 0])


def test_counting_images_breaks_the_guarantee() -> None:
    """12 parts of 6 images are no 72 images: at a stated 5 % every second guarantee fails."""
    rng, cluster = np.random.default_rng(7), CASES["exposures of a part, almost alike"]
    scores = cluster.draw(rng, ROUNDS, 12).reshape(ROUNDS, 72)
    rank = largest_rank(72, Guarantee(0.05, CONFIDENCE))
    thresholds = np.partition(scores, 72 - rank, axis=1)[:, 72 - rank]
    population = np.sort(cluster.draw(rng, POPULATION).ravel())
    above = 1 - np.searchsorted(population, thresholds, side="right") / len(population)
    assert (above <= 0.05).mean() < 0.6


@pytest.mark.parametrize(
    ("parts", "rate"), [(1, 0.95), (2, 0.78), (6, 0.4), (24, 0.12), (59, 0.05), (299, 0.01)]
)
def test_few_parts_support_what_they_support(parts: int, rate: float) -> None:
    assert best_guarantee(parts, Guarantee(1e-4, CONFIDENCE)).rate == rate


def clustered(parts: int = 10, images: int = 5) -> NormalScores:
    scores = np.random.default_rng(3).random(parts * images).tolist()
    names = [f"{one}.png" for one in range(parts * images)]
    return NormalScores(
        names, scores, scores, parts=[str(one // images) for one in range(parts * images)]
    )


def test_a_part_counts_with_its_highest_score() -> None:
    scores = clustered()
    parts = scores.by("part")
    assert len(parts) == 10 and parts.images == 50
    assert parts.image.tolist() == [max(scores.image[k : k + 5]) for k in range(0, 50, 5)]
    assert parts.pixel.tolist() == parts.image.tolist()
    scores.pixel = scores.pixel[::-1]  # the highest pixel is not always that of the highest image
    peaks = [max(scores.pixel[k : k + 5]) for k in range(0, 50, 5)]
    assert scores.by("part").pixel.tolist() == peaks


def test_one_image_is_drawn_from_each_part_and_always_the_same() -> None:
    scores = clustered()
    drawn = scores.by("image")
    assert all(drawn.image[k] in scores.image[5 * k : 5 * k + 5] for k in range(10))
    assert drawn.image.tolist() == scores.by("image").image.tolist()
    assert drawn.image.max() <= scores.by("part").image.max()
    places = [scores.image.index(value) % 5 for value in drawn.image]
    assert len(set(places)) > 1, "not always the first"
