"""The synthetic line: repeatable, moving, with the truth about what is planted."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge_ad.synthetic_line import KINDS, Defect, SyntheticLine, SyntheticLineSpec
from edge_ad.synthetic_line.defects import VISIBLE, damaged
from edge_ad.synthetic_line.plates import draw_plate


def test_the_same_seed_draws_the_same_frame_in_any_order() -> None:
    first, second = (SyntheticLine(SyntheticLineSpec(seed=5, defects=0.5)) for _ in range(2))
    wanted = {index: first.shot(index).image for index in (0, 40, 80)}
    for index in (80, 0, 40):
        assert (second.shot(index).image == wanted[index]).all()


def test_another_seed_draws_another_line() -> None:
    assert (
        SyntheticLine(SyntheticLineSpec(seed=1)).shot(40).image
        != SyntheticLine(SyntheticLineSpec(seed=2)).shot(40).image
    ).any()


def test_a_good_line_plants_nothing_and_a_bad_one_everywhere() -> None:
    good, bad = (
        SyntheticLine(SyntheticLineSpec(defects=0.0)),
        SyntheticLine(SyntheticLineSpec(defects=1.0)),
    )
    for part in range(20):
        assert good.defect_of(part) is None
        assert bad.defect_of(part) is not None
    assert not good.shot(60).mask.any() and not good.shot(60).plants


def test_a_plan_says_which_plate_gets_what_and_the_rest_is_good() -> None:
    plan = (None, Defect("dent", 1.0, 1.0))
    line = SyntheticLine(SyntheticLineSpec(plan=plan))
    assert [line.defect_of(part) for part in range(3)] == [*plan, None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_a_mask_is_where_the_plate_changed(kind: str, size: float, contrast: float) -> None:
    plate = draw_plate(np.random.default_rng(3), 2.0)
    for seed in range(4):
        worse, mask = damaged(plate, Defect(kind, size, contrast), np.random.default_rng(seed))
        change = np.abs(worse.colour() - plate.colour()).max(axis=2) * plate.alpha
        assert mask.any() and mask.mean() < 0.15
        assert mask[change > VISIBLE].all()
        if kind != "missing_print":
            assert (change[mask] > VISIBLE).all()


@pytest.mark.parametrize("kind", KINDS)
def test_larger_defects_have_larger_masks(kind: str) -> None:
    plate = draw_plate(np.random.default_rng(3), 2.0)

    def area(size: float) -> float:
        defect = Defect(kind, size, 0.7)
        rngs = (np.random.default_rng(seed) for seed in range(8))
        return float(np.mean([damaged(plate, defect, rng)[1].sum() for rng in rngs]))

    assert area(0.0) < area(0.5) < area(1.0)


def test_the_frame_changes_inside_the_mask_and_nowhere_else() -> None:
    plan = (Defect("stain", 0.8, 0.9),)
    shot, clean = (
        SyntheticLine(SyntheticLineSpec(plan=plan)).shot(24),
        SyntheticLine(SyntheticLineSpec(plan=())).shot(24),
    )
    change = np.abs(shot.image.astype(int) - clean.image).max(axis=2)
    assert shot.mask.any()
    assert change[shot.mask].mean() > 10
    grown = np.zeros_like(shot.mask)
    x, y, width, height = shot.plants[0].box_xywh
    grown[y - 6 : y + height + 6, x - 6 : x + width + 6] = True
    assert change[~grown].max() <= 2  # the noise grows with the light, which did not change there


def test_a_plate_moves_to_the_right_and_its_defect_with_it() -> None:
    line = SyntheticLine(SyntheticLineSpec(plan=(Defect("dent", 0.5, 1.0),)))
    boxes = [shot.plants[0].box_xywh for shot in map(line.shot, range(16, 30)) if shot.plants]
    lefts = [x for x, _, _, _ in boxes if x > 0]
    assert len(lefts) > 8
    assert all(6 <= later - earlier <= 10 for earlier, later in itertools.pairwise(lefts))


def test_every_planted_plate_is_seen_within_its_frames() -> None:
    line = SyntheticLine(SyntheticLineSpec(plan=(None, Defect("scratch", 0.5, 0.5))))
    first, last = line.frames_of(1)
    seen = [index for index in range(last + 10) if line.shot(index).plants]
    assert len(seen) >= 30  # 8 of 320 pixels a frame
    assert first <= seen[0] and seen[-1] <= last


def test_other_sizes_show_the_same_scene_larger() -> None:
    small, large = (
        SyntheticLine(SyntheticLineSpec(seed=4, size_wh=(160 * k, 120 * k))) for k in (1, 3)
    )
    shot = large.shot(40)
    assert shot.image.shape == (360, 480, 3) and shot.mask.shape == (360, 480)
    shrunk = shot.image.reshape(120, 3, 160, 3, 3).mean(axis=(1, 3))
    likeness = np.corrcoef(shrunk.ravel(), small.shot(40).image.ravel())[0, 1]
    assert likeness > 0.8


def test_the_light_drifts_and_the_sensor_is_noisy() -> None:
    line = SyntheticLine(SyntheticLineSpec(plan=()))
    rails = [float(line.shot(index).image[:8].mean()) for index in range(0, 600, 60)]
    assert max(rails) - min(rails) > 4
    first, second = (line.shot(index).image[:6].astype(float) for index in (5, 6))
    assert 1 < (first - second).std() < 12
