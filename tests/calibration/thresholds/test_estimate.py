"""Thresholds and their guarantee, checked by arithmetic and by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_ad.calibration.thresholds.estimate import threshold_for
from edge_ad.calibration.thresholds.guarantee import Guarantee, best_guarantee, largest_rank
from edge_ad.calibration.thresholds.scores import NormalScores, score_normal
from edge_ad.engine import ScriptedEngine
from edge_ad.errors import DataError, EdgeAdError, GateFailed
from edge_ad.geometry import Geometry
from edge_ad.parts import parts_needed, supported_rate

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def normal_scores(scores: NDArray[np.float64]) -> NormalScores:
    names = [str(index) for index in range(len(scores))]
    return NormalScores(names, list(scores), list(scores))


@pytest.mark.parametrize(
    ("rate", "confidence", "needed"), [(0.001, 0.95, 2995), (0.01, 0.95, 299), (0.05, 0.9, 45)]
)
def test_images_that_a_guarantee_needs(rate: float, confidence: float, needed: int) -> None:
    guarantee = Guarantee(rate, confidence)
    assert parts_needed(rate, confidence) == needed
    assert largest_rank(needed, guarantee) == 1
    assert largest_rank(needed - 1, guarantee) == 0


@pytest.mark.parametrize("images", [1, 2, 10, 299, 2995])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_the_supported_rate_can_be_guaranteed(images: int, confidence: float) -> None:
    best = best_guarantee(images, Guarantee(1e-6, confidence))
    assert largest_rank(images, best) >= 1
    assert best.rate == float(f"{best.rate:.2g}"), "two digits, for people"
    assert largest_rank(images, Guarantee(best.rate * 0.9, confidence)) == 0


def test_the_rank_agrees_with_the_exact_binomial_sum() -> None:
    n, rate, confidence = 400, 0.03, 0.95
    terms = [math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(40)]
    expected = max(m for m in range(40) if 1 - sum(terms[:m]) >= confidence)
    assert largest_rank(n, Guarantee(rate, confidence)) == expected


@settings(deadline=None)
@given(st.integers(1, 3000), st.floats(0.001, 0.5), st.floats(0.5, 0.999))
def test_never_more_is_guaranteed_than_the_images_support(
    images: int, rate: float, confidence: float
) -> None:
    guarantee = Guarantee(rate, confidence)
    best = best_guarantee(images, guarantee)
    assert largest_rank(images, best) >= 1 or best.rate == 0.999
    # supported_rate is exact but for rounding: one image at 50 % may support 0.5 and an ulp
    supported = supported_rate(images, confidence)
    assert best == guarantee or (best.rate >= supported - 1e-12 and supported > rate - 1e-9)


DISTRIBUTIONS: dict[str, tuple[Draw, Callable[[float], float]]] = {
    "uniform": (lambda rng, n: rng.random(n), lambda t: 1 - t),
    "exponential": (lambda rng, n: rng.exponential(size=n), lambda t: math.exp(-t)),
    "heavy tail": (lambda rng, n: rng.pareto(1.0, n), lambda t: 1 / (1 + t)),
}


@pytest.mark.parametrize("distribution", list(DISTRIBUTIONS))
@pytest.mark.parametrize(("images", "rate"), [(60, 0.05), (300, 0.02), (500, 0.05)])
def test_the_guarantee_holds_for_every_distribution(
    distribution: str, images: int, rate: float
) -> None:
    draw, share_above = DISTRIBUTIONS[distribution]
    rng, guarantee, rounds = np.random.default_rng(3), Guarantee(rate, 0.95), 400
    kept = sum(
        share_above(threshold_for(normal_scores(draw(rng, images)), guarantee).image) <= rate
        for _ in range(rounds)
    )
    slack = 3 * math.sqrt(0.95 * 0.05 / rounds)  # three standard errors of the simulation
    assert kept / rounds >= 0.95 - slack


def test_enough_images_let_the_threshold_fall_below_the_maximum() -> None:
    scores = np.arange(3000, dtype=np.float64)
    threshold = threshold_for(normal_scores(scores), Guarantee(0.01, 0.95))
    assert 2950 < threshold.image < 2999
    assert (scores > threshold.image).mean() <= 0.01


def test_too_few_images_are_refused_with_what_is_needed_and_what_they_support() -> None:
    with pytest.raises(GateFailed, match=r"needs 2995 .* support 0\.03 .* leave the rate out"):
        threshold_for(normal_scores(np.arange(100.0)), Guarantee(0.001, 0.95))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (["a"], "one normal image cannot"),
        (["a", "a"], r"one normal part \(2 images\) cannot"),
        (["a", "b"], "2 normal images cannot"),
        (["a", "b", "b"], r"2 normal parts \(3 images\) cannot"),
    ],
)
def test_a_refusal_counts_parts_and_images(parts: list[str], words: str) -> None:
    scores = normal_scores(np.arange(float(len(parts))))
    scores.parts = parts
    with pytest.raises(GateFailed, match=f"^{words} guarantee"):
        threshold_for(scores, Guarantee(0.05, 0.95))


def images(count: int, *, repeat: int = 0) -> list[tuple[str, NDArray[np.uint8]]]:
    made = [
        (f"{seed}.png", np.random.default_rng(seed).integers(0, 200, (32, 32, 3)).astype(np.uint8))
        for seed in range(count)
    ]
    return made + [(f"copy{index}.png", made[0][1]) for index in range(repeat)]


def test_near_duplicates_do_not_count() -> None:
    scores = score_normal(ScriptedEngine(), images(20, repeat=5))
    assert len(scores.image) == len(scores.names) == 20
    assert scores.repeats[0] == ("copy0.png", "0.png") and len(scores.repeats) == 5


def test_the_pixel_threshold_bounds_the_map_and_ignored_areas_do_not_count() -> None:
    bright = np.full((32, 32, 3), 51, np.uint8)
    bright[4:8, 4:8] = 255
    engine = ScriptedEngine()
    whole = score_normal(engine, [("a", bright)])
    hidden = Geometry(ignore=(((0, 0), (12, 0), (12, 12), (0, 12)),))
    assert (whole.image, whole.pixel) == ([1.0], [1.0])
    partly = score_normal(engine, [("a", bright)], hidden)
    assert [*partly.image, *partly.pixel] == pytest.approx([0.2, 0.2])
    assert threshold_for(partly, Guarantee(0.96, 0.95)).geometry == hidden
    assert threshold_for(whole, Guarantee(0.96, 0.95)).geometry == Geometry()


def test_a_group_of_near_duplicates_counts_once_with_its_highest_score() -> None:
    (name, first), *others = images(3)
    brighter = first.copy()
    row, column = np.unravel_index(int(first[:, :, 1].argmax()), (32, 32))
    brighter[row, column, 1] = 215  # one pixel: the same part, with a higher score
    scores = score_normal(ScriptedEngine(), [(name, first), *others, ("again", brighter)])
    assert scores.repeats == [("again", name)]
    assert scores.image[0] == pytest.approx(215 / 255) and max(scores.image[1:]) < 0.8
    assert scores.pixel == scores.image


def test_what_the_images_look_like_is_kept_for_the_line() -> None:
    wide = np.random.default_rng(0).integers(0, 200, (6, 24, 36, 3)).astype(np.uint8)
    named = [(f"{number}.png", image) for number, image in enumerate(wide)]
    reference = score_normal(ScriptedEngine(), named).reference()
    assert reference is not None
    assert (reference.size_hw, reference.count) == ((24, 36), 6)
    assert len(reference.brightness) == len(reference.sharpness) == 21
    assert list(reference.brightness) == sorted(reference.brightness)
    assert reference.colour
    named[3][1][:] = named[3][1][:, :, :1]
    grey = score_normal(ScriptedEngine(), named).reference()
    assert grey is not None and not grey.colour


def test_an_image_the_line_would_not_judge_is_left_out() -> None:
    black = ("black", np.zeros((32, 32, 3), np.uint8))
    scores = score_normal(ScriptedEngine(), [*images(2), black])
    assert len(scores.names) == 2 and "black" in scores.left_out["black"]
    with pytest.raises(DataError, match="would judge none of the 1, like black"):
        score_normal(ScriptedEngine(), [black])


def test_an_engine_that_returns_infinity_sets_no_threshold() -> None:
    broken = ScriptedEngine(map_of=lambda image: np.full(image.shape[:2], np.inf, np.float32))
    with pytest.raises(EdgeAdError, match="NaN or Inf"):
        score_normal(broken, images(1))


def test_a_refusal_comes_with_its_figures() -> None:
    with pytest.raises(GateFailed) as refusal:
        threshold_for(normal_scores(np.arange(100.0)), Guarantee(0.001, 0.95))
    facts = refusal.value.facts
    assert (facts["images"], facts["parts_needed"], facts["requested_rate"]) == (100, 2995, 0.001)
    assert facts["supported_rate"] == pytest.approx(1 - 0.05 ** (1 / 100))


@settings(deadline=None)
@given(st.integers(1, 5000), st.floats(1e-4, 0.5), st.floats(0.5, 0.999))
def test_the_rank_is_the_largest_that_keeps_the_guarantee(
    images: int, rate: float, confidence: float
) -> None:
    stats = pytest.importorskip("scipy.stats")
    rank = largest_rank(images, Guarantee(rate, confidence))
    if rank:
        assert stats.binom.sf(rank - 1, images, rate) >= confidence - 1e-9
    if rank < images:
        assert stats.binom.sf(rank, images, rate) < confidence + 1e-9


def test_no_image_is_an_error() -> None:
    with pytest.raises(DataError, match="no normal image"):
        score_normal(ScriptedEngine(), [])
