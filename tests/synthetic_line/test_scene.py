"""The synthetic line: reproducible, moving, with exact ground truth."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest

from edge_ad.synthetic_line import KINDS, Defect, SyntheticLine, SyntheticLineSpec
from edge_ad.synthetic_line.defects import VISIBLE, add_defect
from edge_ad.synthetic_line.plates import Plate, draw_plate


@cache
def normal_plate() -> Plate:
    return draw_plate(np.random.default_rng(3), 2.0)


def test_the_same_seed_draws_the_same_frame_in_any_order() -> None:
    first, second = (SyntheticLine(SyntheticLineSpec(seed=5, defects=0.5)) for _ in range(2))
    expected = {index: first.frame_at(index).image for index in (0, 40, 80)}
    for index in (80, 0, 40):
        assert (second.frame_at(index).image == expected[index]).all()


def test_another_seed_draws_another_line() -> None:
    assert (
        SyntheticLine(SyntheticLineSpec(seed=1)).frame_at(40).image
        != SyntheticLine(SyntheticLineSpec(seed=2)).frame_at(40).image
    ).any()


def test_a_normal_line_has_no_defects_and_an_anomalous_one_has_one_on_every_plate() -> None:
    normal, anomalous = (
        SyntheticLine(SyntheticLineSpec(defects=0.0)),
        SyntheticLine(SyntheticLineSpec(defects=1.0)),
    )
    for part in range(20):
        assert normal.defect_of(part) is None
        assert anomalous.defect_of(part) is not None
    assert not normal.frame_at(60).mask.any() and not normal.frame_at(60).defects


def test_a_plan_sets_the_defect_of_each_plate_and_the_rest_is_normal() -> None:
    plan = (None, Defect("dent", 1.0, 1.0))
    line = SyntheticLine(SyntheticLineSpec(plan=plan))
    assert [line.defect_of(part) for part in range(3)] == [*plan, None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_a_mask_covers_where_the_plate_changed(kind: str, size: float, contrast: float) -> None:
    plate = normal_plate()
    for seed in range(2):
        anomalous, mask = add_defect(
            plate, Defect(kind, size, contrast), np.random.default_rng(seed)
        )
        change = np.abs(anomalous.colour() - plate.colour()).max(axis=2) * plate.alpha
        assert mask.any() and mask.mean() < 0.15
        assert mask[change > VISIBLE].all()
        if kind != "missing_print":
            assert (change[mask] > VISIBLE).all()


@pytest.mark.parametrize("kind", KINDS)
def test_larger_defects_have_larger_masks(kind: str) -> None:
    plate = normal_plate()

    def area(size: float) -> float:
        defect = Defect(kind, size, 0.7)
        rngs = (np.random.default_rng(seed) for seed in range(8))
        return float(np.mean([add_defect(plate, defect, rng)[1].sum() for rng in rngs]))

    assert area(0.0) < area(0.5) < area(1.0)


def test_the_frame_changes_inside_the_mask_and_nowhere_else() -> None:
    plan = (Defect("stain", 0.8, 0.9),)
    labelled, normal = (
        SyntheticLine(SyntheticLineSpec(plan=plan)).frame_at(24),
        SyntheticLine(SyntheticLineSpec(plan=())).frame_at(24),
    )
    change = np.abs(labelled.image.astype(int) - normal.image).max(axis=2)
    assert labelled.mask.any()
    assert change[labelled.mask].mean() > 10
    grown = np.zeros_like(labelled.mask)
    x, y, width, height = labelled.defects[0].box_xywh
    grown[y - 6 : y + height + 6, x - 6 : x + width + 6] = True
    assert change[~grown].max() <= 2  # the noise grows with the light, which did not change there


def test_a_plate_moves_to_the_right_and_its_defect_with_it() -> None:
    line = SyntheticLine(SyntheticLineSpec(plan=(Defect("dent", 0.5, 1.0),)))
    boxes = [
        labelled.defects[0].box_xywh
        for labelled in map(line.frame_at, range(16, 30))
        if labelled.defects
    ]
    lefts = [x for x, _, _, _ in boxes if x > 0]
    assert len(lefts) > 8
    assert all(6 <= later - earlier <= 10 for earlier, later in itertools.pairwise(lefts))


def test_every_defect_is_visible_within_its_frames() -> None:
    plan = (None, Defect("scratch", 0.5, 0.5))
    line = SyntheticLine(SyntheticLineSpec(size_wh=(160, 120), plan=plan))
    first, last = line.frames_of(1)
    visible = [index for index in range(last + 10) if line.frame_at(index).defects]
    assert len(visible) >= 30  # 4 of 160 pixels a frame
    assert first <= visible[0] and visible[-1] <= last


def test_other_sizes_show_the_same_scene_larger() -> None:
    small, large = (
        SyntheticLine(SyntheticLineSpec(seed=4, size_wh=(160 * k, 120 * k))) for k in (1, 3)
    )
    labelled = large.frame_at(40)
    assert labelled.image.shape == (360, 480, 3) and labelled.mask.shape == (360, 480)
    shrunk = labelled.image.reshape(120, 3, 160, 3, 3).mean(axis=(1, 3))
    correlation = np.corrcoef(shrunk.ravel(), small.frame_at(40).image.ravel())[0, 1]
    assert correlation > 0.8


def test_the_light_drifts_and_the_sensor_is_noisy() -> None:
    line = SyntheticLine(SyntheticLineSpec(plan=()))
    rails = [float(line.frame_at(index).image[:8].mean()) for index in range(0, 600, 60)]
    assert max(rails) - min(rails) > 4
    first, second = (line.frame_at(index).image[:6].astype(float) for index in (5, 6))
    assert 1 < (first - second).std() < 12
