from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge_ad.inspection import find_regions, rescore
from edge_ad.manifest import Score
from edge_ad.preprocess import AnomalyMap


def anomaly_map(*boxes: tuple[int, int, int, int, float]) -> AnomalyMap:
    """Make a 40 x 60 map at scale 2, origin (100, 50); boxes are x, y, width, height, value."""
    values = np.zeros((40, 60), np.float32)
    for x, y, width, height, value in boxes:
        values[y : y + height, x : x + width] = value
    return AnomalyMap(values, (100, 50), (2, 2))


def test_regions_are_in_frame_pixels_and_the_worst_comes_first() -> None:
    weak, strong = find_regions(anomaly_map((5, 4, 6, 3, 0.7), (30, 20, 2, 8, 0.9)), 0.5)[::-1]
    assert (weak.x, weak.y, weak.width, weak.height, weak.area_px) == (110, 58, 12, 6, 72)
    assert (strong.x, strong.y, strong.width, strong.height) == (160, 90, 4, 16)
    assert strong.peak == pytest.approx(0.9)


def test_the_peak_is_placed_in_the_middle_of_its_map_pixel() -> None:
    values = anomaly_map((5, 4, 6, 3, 0.7))
    values.values[6, 8] = 0.9
    (region,) = find_regions(values, 0.5)
    assert region.peak_xy == (100 + 17, 50 + 13)


def test_a_pixel_at_the_threshold_is_normal() -> None:
    (region,) = find_regions(anomaly_map((5, 4, 6, 3, 0.5), (30, 20, 2, 8, 0.75)), 0.5)
    assert region.peak == 0.75


def test_touching_corners_are_one_region() -> None:
    assert len(find_regions(anomaly_map((5, 5, 2, 2, 1), (7, 7, 2, 2, 1)), 0.5)) == 1


def test_a_reject_below_the_pixel_threshold_still_has_a_region() -> None:
    (region,) = find_regions(anomaly_map((10, 10, 4, 4, 0.3)), level=0.5)
    assert (region.x, region.y) == (120, 70)


def test_the_number_of_regions_is_limited() -> None:
    boxes = [(x, y, 1, 1, 1.0) for x in range(0, 60, 3) for y in range(0, 40, 3)]
    assert len(find_regions(anomaly_map(*boxes), 0.5, at_most=10)) == 10


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float32, (12, 16), elements=st.floats(-1, 1, width=32)), st.floats(-1, 1))
def test_every_pixel_above_the_level_lies_in_a_region(values: np.ndarray, level: float) -> None:
    regions = find_regions(AnomalyMap(values, (0, 0), (1, 1)), level, at_most=1000)
    inside = np.zeros(values.shape, np.bool_)
    for region in regions:
        inside[region.y : region.y + region.height, region.x : region.x + region.width] = True
    assert regions and inside[values > level].all()
    assert regions[0].peak == pytest.approx(float(values.max()))


NOTHING = np.zeros((1, 9, 9), np.bool_)


def test_rescoring_repeats_the_top_k_mean() -> None:
    maps = np.arange(81, dtype=np.float32).reshape(1, 9, 9)
    assert rescore(maps, NOTHING, Score(top_k=4)) == pytest.approx((80 + 79 + 78 + 77) / 4)


def test_rescoring_counts_the_padding_of_the_mean_filter() -> None:
    maps = np.zeros((1, 9, 9), np.float32)
    maps[0, 0, 0] = 9
    assert rescore(maps, NOTHING, Score(mean_filter_px=3)) == pytest.approx(1.0)


def test_ignored_pixels_do_not_score_and_the_worst_tile_counts() -> None:
    maps = np.zeros((2, 9, 9), np.float32)
    maps[0, 1, 1], maps[1, 2, 2] = 5, 3
    ignored = np.zeros_like(maps, np.bool_)
    assert rescore(maps, ignored, Score()) == 5
    ignored[0, :3, :3] = True
    assert rescore(maps, ignored, Score()) == 3
    ignored[:] = True
    assert rescore(maps, ignored, Score()) == float("-inf")
