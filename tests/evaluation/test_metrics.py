from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.curves import Curve, precision_recall, region_overlap, roc, thinned
from edge_ad.evaluation.metrics import (
    aupro,
    best_threshold,
    iap,
    iap_at,
    image_auroc,
    instance_curve,
    pixel_ap,
    pixel_auroc,
    pooled,
)

Images = tuple[list[NDArray[np.float64]], list[NDArray[np.bool_]]]


def golden() -> Images:
    """Three 8 x 8 images with three defects; their IAP agrees with DeSTSeg's released code."""
    maps, masks = [], []
    for number in range(3):
        k = 64 * number + np.arange(64).reshape(8, 8)
        maps.append(((37 * k + 11) % 193) / 386)
        masks.append(np.zeros((8, 8), np.bool_))
    for number, rows, columns, added in (
        (1, slice(1, 3), slice(1, 3), 0.45),
        (1, slice(5, 7), slice(4, 7), 0.20),
        (2, slice(3, 4), slice(2, 7), 0.30),
    ):
        maps[number][rows, columns] += added
        masks[number][rows, columns] = True
    return maps, masks


def test_the_golden_vector() -> None:
    maps, masks = golden()
    pixels = pooled(maps, masks)  # type: ignore[arg-type]
    assert image_auroc([m.max() for m in maps], [bool(m.any()) for m in masks]) == 1.0
    found = {
        "pixel_auroc": pixel_auroc(pixels),
        "pixel_ap": pixel_ap(pixels),
        "aupro": aupro(pixels),
        "aupro 0.05": aupro(pixels, 0.05),
        "aupro 1": aupro(pixels, 1.0),
        "iap": iap(pixels),
        "iap90": iap_at(pixels, 0.9),
        "iap50": iap_at(pixels, 0.5),
    }
    assert found == pytest.approx(
        {
            "pixel_auroc": 0.922787,
            "pixel_ap": 0.744562,
            "aupro": 0.797656,
            "aupro 0.05": 0.640490,
            "aupro 1": 0.931481,
            "iap": 0.795699,
            "iap90": 0.387097,
            "iap50": 1.0,
        },
        abs=1e-6,
    )
    recalls, precisions = instance_curve(pixels)
    assert recalls == pytest.approx([1, 2 / 3, 1 / 3])
    assert precisions == pytest.approx([0.387097, 1, 1], abs=1e-6)


def flat(value: float = 0.5) -> Images:
    return [np.full((6, 6), value)], [np.zeros((6, 6), np.bool_)]


def test_what_is_undefined_is_none_and_never_a_half() -> None:
    assert image_auroc([0.1, 0.2], [False, False]) is None
    pixels = pooled(*flat())  # type: ignore[arg-type]
    assert [f(pixels) for f in (pixel_auroc, pixel_ap, aupro, iap)] == [None] * 4


def test_a_map_that_says_nothing_is_worth_a_guess() -> None:
    maps, masks = flat()
    masks[0][2:4, 2:4] = True
    pixels = pooled(maps, masks)  # type: ignore[arg-type]
    assert pixel_auroc(pixels) == 0.5
    assert pixel_ap(pixels) == pytest.approx(4 / 36)
    assert aupro(pixels) == pytest.approx(0.15), "one tie across the limit is interpolated"


def test_a_perfect_map_is_perfect() -> None:
    mask = np.zeros((20, 20), np.bool_)
    mask[2:5, 2:5] = mask[10:12, 15:19] = True
    pixels = pooled([mask.astype(np.float32)], [mask])
    for metric in (pixel_auroc, pixel_ap, aupro, iap):
        assert metric(pixels) == pytest.approx(1.0)


def test_touching_corners_are_one_defect_and_labels_are_unique_over_images() -> None:
    mask = np.zeros((6, 6), np.bool_)
    mask[0, 0] = mask[1, 1] = mask[4, 4] = True
    pixels = pooled([mask.astype(np.float32)] * 2, [mask, mask])
    assert sorted(pixels.sizes) == [1, 1, 2, 2]


def test_ignored_pixels_do_not_count() -> None:
    values, mask = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.bool_)
    mask[0], values[0], values[1:3] = True, 1, -np.inf
    pixels = pooled([values], [mask])
    assert pixels.normal + pixels.anomalous.sum() == 8 and pixel_auroc(pixels) == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_an_error(bad: float) -> None:
    with pytest.raises(EdgeAdError, match="not numbers"):
        image_auroc([bad, 1.0], [True, False])
    with pytest.raises(EdgeAdError, match="not numbers"):
        pooled([np.full((2, 2), bad, np.float32)], [np.eye(2, dtype=np.bool_)])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_only_ranks_matter(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels, (12, 12)).astype(np.float32)  # few levels: many ties
    mask = rng.random((12, 12)) > 0.7
    raw, squeezed = pooled([values], [mask]), pooled([np.sqrt(values) / np.float32(10)], [mask])
    for metric in (pixel_auroc, pixel_ap, aupro, iap):
        one, other = metric(raw), metric(squeezed)
        assert one == pytest.approx(other)
        assert one is not None and 0 <= one <= 1


Labelled = tuple[NDArray[np.float32], NDArray[np.bool_]]


def random_images(seed: int, levels: int) -> list[Labelled]:
    """Maps of several sizes with few distinct scores (many ties), defects and ignored pixels."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(int(rng.integers(2, 5))):
        hw = tuple(rng.integers(3, 12, 2))
        values = (rng.integers(0, levels, hw) / levels).astype(np.float32)
        values[rng.random(hw) < 0.1] = -np.inf
        images.append((values, rng.random(hw) < 0.3))
    return images


def together(images: list[Labelled]) -> Labelled:
    scores = np.concatenate([values.ravel() for values, _ in images])
    truth = np.concatenate([mask.ravel() for _, mask in images])
    return scores[np.isfinite(scores)], truth[np.isfinite(scores)]


images_of = st.builds(random_images, st.integers(0, 10**6), st.sampled_from([2, 7, 1000]))


@settings(max_examples=60, deadline=None)
@given(images_of)
def test_counting_between_anomalous_scores_equals_ranking_all_pixels(
    images: list[Labelled],
) -> None:
    scores, truth = together(images)
    if truth.all() or not truth.any():
        return
    pixels = pooled(*zip(*images, strict=True))
    assert pixel_auroc(pixels) == pytest.approx(roc_auc_score(truth, scores))
    assert pixel_ap(pixels) == pytest.approx(average_precision_score(truth, scores))


@settings(max_examples=40, deadline=None)
@given(images_of)
def test_aupro_and_iap_equal_a_plain_reading_of_their_definitions(
    images: list[Labelled],
) -> None:
    pixels = pooled(*zip(*images, strict=True))
    if not pixels.both_classes:
        return
    assert aupro(pixels) == pytest.approx(plain_aupro(images, 0.3))
    precisions = plain_precisions(images)
    assert iap(pixels) == pytest.approx(float(np.mean(precisions)))
    reached = [p for i, p in enumerate(precisions) if 1 - i / len(precisions) >= 0.9 - 1e-9]
    assert iap_at(pixels, 0.9) == pytest.approx(reached[-1])


def flooded(images: list[Labelled]) -> list[NDArray[np.float32]]:
    """Judged scores of each connected defect, by flood fill."""
    found = []
    for values, mask in images:
        left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
        while left:
            todo, members = [left.pop()], []
            while todo:
                row, column = todo.pop()
                members.append(values[row, column])
                near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
                left -= near
                todo += near
            found.append(np.array([score for score in members if np.isfinite(score)]))
    return [region for region in found if region.size]


def plain_aupro(images: list[Labelled], limit: float) -> float:
    """One threshold after the other, then the trapezoids."""
    scores, truth = together(images)
    points = [(0.0, 0.0)]
    for threshold in np.unique(scores)[::-1]:
        false = float((scores[~truth] >= threshold).mean())
        covered = [float((region >= threshold).mean()) for region in flooded(images)]
        points.append((false, float(np.mean(covered))))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        end = min(x1, limit)
        if x0 < end:
            height = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + height) / 2
    return area / limit


def plain_precisions(images: list[Labelled]) -> list[float]:
    scores, truth = together(images)
    critical = sorted(np.sort(region)[::-1][len(region) // 2] for region in flooded(images))
    raw = [float(truth[scores >= threshold].mean()) for threshold in critical]
    return [max(raw[: index + 1]) for index in range(len(raw))]


@pytest.mark.parametrize(("found", "critical"), [(4, 0), (5, 1)], ids=["half", "more than half"])
def test_a_defect_is_found_by_more_than_half_of_it(found: int, critical: float) -> None:
    values = np.array([[1] * found + [0] * (8 - found)], np.float32)
    assert pooled([values], [np.ones_like(values, np.bool_)]).critical == [critical]


def test_every_defect_weighs_the_same_in_aupro() -> None:
    """One pixel is found and a block of nine is missed: half of the defects, at any rate."""
    values = np.linspace(0.1, 0.4, 100, dtype=np.float32).reshape(10, 10)
    mask = np.zeros((10, 10), np.bool_)
    mask[0, 0], mask[4:7, 4:7] = True, True
    values[0, 0], values[4:7, 4:7] = 1, 0
    assert aupro(pooled([values], [mask])) == pytest.approx(0.5)


def test_curves_begin_and_end_where_they_must() -> None:
    pixels = pooled(*golden())  # type: ignore[arg-type]
    for curve in (roc(pixels), region_overlap(pixels)):
        assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
        assert (np.diff(curve.x) >= 0).all() and (np.diff(curve.y) >= -1e-12).all()
    assert precision_recall(pixels).x[-1] == 1


def test_a_thinned_curve_keeps_its_ends_and_its_area() -> None:
    steep = np.linspace(0, 1, 100_001)
    curve = Curve(steep, steep**0.05)  # nearly all of its rise is in the first thousand points
    thin = thinned(curve, 100)
    assert len(thin.x) <= 102 and (thin.x[0], thin.x[-1]) == (0, 1)
    assert np.interp(0.001, thin.x, thin.y) == pytest.approx(0.001**0.05, abs=0.01)


@pytest.mark.parametrize(
    ("scores", "labels", "wanted"),
    [
        pytest.param([1, 2, 8, 9], [0, 0, 1, 1], 5.0, id="between the classes"),
        pytest.param([1, 5, 4, 9], [0, 0, 1, 1], 2.5, id="one overkill is better than an escape"),
        pytest.param([3, 3], [0, 1], 3.0, id="just below a score that both classes have"),
        pytest.param([1, 2], [0, 0], None, id="nothing to find"),
    ],
)
def test_the_threshold_with_the_best_f1(
    scores: list[float], labels: list[bool], wanted: float | None
) -> None:
    found = best_threshold(scores, labels)
    assert found == (None if wanted is None else pytest.approx(wanted))
    if found is not None:
        assert max(score for score, label in zip(scores, labels, strict=True) if label) > found
