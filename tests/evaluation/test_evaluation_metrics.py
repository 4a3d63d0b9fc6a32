from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.metrics import (
    aupro,
    iap,
    iap_at,
    image_auroc,
    instance_curve,
    instances,
    pixel_ap,
    pixel_auroc,
    pooled,
)

Pictures = tuple[list[NDArray[np.float64]], list[NDArray[np.bool_]]]


def golden() -> Pictures:
    """Three 8 x 8 pictures with three defects; their IAP agrees with DeSTSeg's released code."""
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


def flat(value: float = 0.5) -> Pictures:
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


def test_touching_corners_are_one_defect_and_labels_are_unique_over_pictures() -> None:
    mask = np.zeros((6, 6), np.bool_)
    mask[0, 0] = mask[1, 1] = mask[4, 4] = True
    pixels = pooled([mask.astype(np.float32)] * 2, [mask, mask])
    assert sorted(instances(pixels)) == [1, 1, 2, 2]


def test_ignored_pixels_do_not_count() -> None:
    values, mask = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.bool_)
    mask[0], values[0], values[1:3] = True, 1, -np.inf
    pixels = pooled([values], [mask])
    assert len(pixels.scores) == 8 and pixel_auroc(pixels) == 1.0


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
