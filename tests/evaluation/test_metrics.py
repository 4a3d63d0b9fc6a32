from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.curves import Curve, precision_recall, region_overlap, roc, thin
from edge_ad.evaluation.metrics import (
    aupro,
    best_threshold,
    iap,
    iap_at,
    image_auroc,
    instance_curve,
    pixel_ap,
    pixel_auroc,
    pool_pixels,
)

Images = tuple[list[NDArray[np.float64]], list[NDArray[np.bool_]]]


def golden() -> Images:
    """Return three 8 x 8 images with three defects; DeSTSeg's released code gives the same IAP."""
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
    pixels = pool_pixels(maps, masks)  # type: ignore[arg-type]
    assert image_auroc([m.max() for m in maps], [bool(m.any()) for m in masks]) == 1.0
    metrics = {
        "pixel_auroc": pixel_auroc(pixels),
        "pixel_ap": pixel_ap(pixels),
        "aupro": aupro(pixels),
        "aupro 0.05": aupro(pixels, 0.05),
        "aupro 1": aupro(pixels, 1.0),
        "iap": iap(pixels),
        "iap90": iap_at(pixels, 0.9),
        "iap50": iap_at(pixels, 0.5),
    }
    assert metrics == pytest.approx(
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


def test_undefined_metrics_are_none() -> None:
    assert image_auroc([0.1, 0.2], [False, False]) is None
    pixels = pool_pixels(*flat())  # type: ignore[arg-type]
    assert [f(pixels) for f in (pixel_auroc, pixel_ap, aupro, iap)] == [None] * 4


def test_a_constant_map_scores_like_a_random_guess() -> None:
    maps, masks = flat()
    masks[0][2:4, 2:4] = True
    pixels = pool_pixels(maps, masks)  # type: ignore[arg-type]
    assert pixel_auroc(pixels) == 0.5
    assert pixel_ap(pixels) == pytest.approx(4 / 36)
    assert aupro(pixels) == pytest.approx(0.15), "one tie across the limit is interpolated"


def test_a_perfect_map_has_metrics_of_one() -> None:
    mask = np.zeros((20, 20), np.bool_)
    mask[2:5, 2:5] = mask[10:12, 15:19] = True
    pixels = pool_pixels([mask.astype(np.float32)], [mask])
    for metric in (pixel_auroc, pixel_ap, aupro, iap):
        assert metric(pixels) == pytest.approx(1.0)


def test_touching_corners_are_one_defect_and_labels_are_unique_over_images() -> None:
    mask = np.zeros((6, 6), np.bool_)
    mask[0, 0] = mask[1, 1] = mask[4, 4] = True
    pixels = pool_pixels([mask.astype(np.float32)] * 2, [mask, mask])
    assert sorted(pixels.sizes) == [1, 1, 2, 2]


def test_ignored_pixels_do_not_count() -> None:
    values, mask = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.bool_)
    mask[0], values[0], values[1:3] = True, 1, -np.inf
    pixels = pool_pixels([values], [mask])
    assert pixels.normal + pixels.anomalous.sum() == 8 and pixel_auroc(pixels) == 1.0


def test_a_defect_that_is_ignored_altogether_does_not_count() -> None:
    values, mask = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.bool_)
    mask[1, 1], mask[5, 5:7] = True, True
    values[0:3], values[5, 5:7] = -np.inf, 1
    pixels = pool_pixels([values], [mask])
    assert pixels.sizes == [2] and iap(pixels) == pytest.approx(1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_are_errors(value: float) -> None:
    with pytest.raises(EdgeAdError, match="NaN or Inf"):
        image_auroc([value, 1.0], [True, False])
    with pytest.raises(EdgeAdError, match="NaN or Inf"):
        pool_pixels([np.full((2, 2), value, np.float32)], [np.eye(2, dtype=np.bool_)])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_only_ranks_matter(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels, (12, 12)).astype(np.float32)  # few levels: many ties
    mask = rng.random((12, 12)) > 0.7
    raw, squeezed = (
        pool_pixels([values], [mask]),
        pool_pixels([np.sqrt(values) / np.float32(10)], [mask]),
    )
    for metric in (pixel_auroc, pixel_ap, aupro, iap):
        before, after = metric(raw), metric(squeezed)
        assert before == pytest.approx(after)
        assert before is not None and 0 <= before <= 1


Labelled = tuple[NDArray[np.float32], NDArray[np.bool_]]


def random_images(seed: int, levels: int) -> list[Labelled]:
    """Draw maps of several sizes with few distinct scores (many ties), defects, ignored pixels."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(int(rng.integers(2, 5))):
        hw = tuple(rng.integers(3, 12, 2))
        values = (rng.integers(0, levels, hw) / levels).astype(np.float32)
        values[rng.random(hw) < 0.1] = -np.inf
        images.append((values, rng.random(hw) < 0.3))
    return images


def concatenated(images: list[Labelled]) -> Labelled:
    scores = np.concatenate([values.ravel() for values, _ in images])
    truth = np.concatenate([mask.ravel() for _, mask in images])
    return scores[np.isfinite(scores)], truth[np.isfinite(scores)]


images_of = st.builds(random_images, st.integers(0, 10**6), st.sampled_from([2, 7, 1000]))


@settings(max_examples=60, deadline=None)
@given(images_of)
def test_counting_between_anomalous_scores_equals_ranking_all_pixels(
    images: list[Labelled],
) -> None:
    scores, truth = concatenated(images)
    if truth.all() or not truth.any():
        return
    pixels = pool_pixels(*zip(*images, strict=True))
    assert pixel_auroc(pixels) == pytest.approx(roc_auc_score(truth, scores))
    assert pixel_ap(pixels) == pytest.approx(average_precision_score(truth, scores))


@settings(max_examples=40, deadline=None)
@given(images_of)
def test_aupro_and_iap_match_a_direct_implementation(
    images: list[Labelled],
) -> None:
    pixels = pool_pixels(*zip(*images, strict=True))
    if not pixels.both_classes:
        return
    assert aupro(pixels) == pytest.approx(reference_aupro(images, 0.3))
    precisions = reference_precisions(images)
    assert iap(pixels) == pytest.approx(float(np.mean(precisions)))
    reached = [p for i, p in enumerate(precisions) if 1 - i / len(precisions) >= 0.9 - 1e-9]
    assert iap_at(pixels, 0.9) == pytest.approx(reached[-1])


def defect_scores(images: list[Labelled]) -> list[NDArray[np.float32]]:
    """Return the scores of each connected defect, by flood fill."""
    regions = []
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
            regions.append(np.array([score for score in members if np.isfinite(score)]))
    return [region for region in regions if region.size]


def reference_aupro(images: list[Labelled], limit: float) -> float:
    """Integrate by trapezoids over every threshold."""
    scores, truth = concatenated(images)
    points = [(0.0, 0.0)]
    for threshold in np.unique(scores)[::-1]:
        false = float((scores[~truth] >= threshold).mean())
        covered = [float((region >= threshold).mean()) for region in defect_scores(images)]
        points.append((false, float(np.mean(covered))))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        end = min(x1, limit)
        if x0 < end:
            height = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + height) / 2
    return area / limit


def reference_precisions(images: list[Labelled]) -> list[float]:
    scores, truth = concatenated(images)
    critical = sorted(np.sort(region)[::-1][len(region) // 2] for region in defect_scores(images))
    raw = [float(truth[scores >= threshold].mean()) for threshold in critical]
    return [max(raw[: index + 1]) for index in range(len(raw))]


@pytest.mark.parametrize(("reached", "critical"), [(4, 0), (5, 1)], ids=["half", "more than half"])
def test_a_defect_is_detected_when_more_than_half_of_it_is_reached(
    reached: int, critical: float
) -> None:
    values = np.array([[1] * reached + [0] * (8 - reached)], np.float32)
    assert pool_pixels([values], [np.ones_like(values, np.bool_)]).critical == [critical]


def test_every_defect_weighs_the_same_in_aupro() -> None:
    """One pixel is detected and a block of nine is missed: half of the defects at any threshold."""
    values = np.linspace(0.1, 0.4, 100, dtype=np.float32).reshape(10, 10)
    mask = np.zeros((10, 10), np.bool_)
    mask[0, 0], mask[4:7, 4:7] = True, True
    values[0, 0], values[4:7, 4:7] = 1, 0
    assert aupro(pool_pixels([values], [mask])) == pytest.approx(0.5)


def test_curves_run_from_0_to_1() -> None:
    pixels = pool_pixels(*golden())  # type: ignore[arg-type]
    for curve in (roc(pixels), region_overlap(pixels)):
        assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
        assert (np.diff(curve.x) >= 0).all() and (np.diff(curve.y) >= -1e-12).all()
    assert precision_recall(pixels).x[-1] == 1


def test_a_thinned_curve_keeps_its_ends_and_its_area() -> None:
    steep = np.linspace(0, 1, 100_001)
    curve = Curve(steep, steep**0.05)  # nearly all of its rise is in the first thousand points
    thinned = thin(curve, 100)
    assert len(thinned.x) <= 102 and (thinned.x[0], thinned.x[-1]) == (0, 1)
    assert np.interp(0.001, thinned.x, thinned.y) == pytest.approx(0.001**0.05, abs=0.01)


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        pytest.param([1, 2, 8, 9], [0, 0, 1, 1], 5.0, id="between the classes"),
        pytest.param([1, 5, 4, 9], [0, 0, 1, 1], 2.5, id="an overkill costs less than an escape"),
        pytest.param([3, 3], [0, 1], 3.0, id="just below a score that both classes have"),
        pytest.param([1, 2], [0, 0], None, id="no anomalous image"),
    ],
)
def test_the_threshold_with_the_best_f1(
    scores: list[float], labels: list[bool], expected: float | None
) -> None:
    threshold = best_threshold(scores, labels)
    assert threshold == (None if expected is None else pytest.approx(expected))
    if threshold is not None:
        assert max(score for score, label in zip(scores, labels, strict=True) if label) > threshold


@pytest.mark.parametrize("seed", range(8))
def test_no_other_threshold_has_a_better_f1(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.arange(14) % 3 == 0
    scores = np.round(rng.normal(labels, 0.8), 1)  # some tie
    chosen = best_threshold(scores.tolist(), labels.tolist())
    assert chosen is not None

    def f1(threshold: float) -> float:
        rejected = scores > threshold
        return 2 * float((rejected & labels).sum()) / float(rejected.sum() + labels.sum())

    assert f1(chosen) == max(f1(float(other) - 1e-6) for other in scores)
