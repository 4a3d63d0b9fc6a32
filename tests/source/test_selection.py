"""Which frames become images of good parts."""

from __future__ import annotations

import numpy as np
import pytest

from edge_ad.errors import UsageError
from edge_ad.frame import BadFrame, Frame
from edge_ad.geometry import Geometry
from edge_ad.source.selection import Fate, Selection

K, D, S, X = Fate.KEPT, Fate.DUPLICATE, Fate.SKIPPED, Fate.INVALID


def frame(seed: int, at_s: float = 0.0) -> Frame:
    image = np.random.default_rng(seed).integers(0, 255, (60, 80, 3), np.uint8)
    return Frame(image, seed, at_s, "test")


def fates(selection: Selection, seeds: list[int]) -> list[Fate]:
    return [selection.judge(frame(seed)) for seed in seeds]


@pytest.mark.parametrize(
    ("every", "seeds", "wanted"),
    [
        pytest.param(1, [1, 2, 3], [K, K, K], id="new frames are kept"),
        pytest.param(1, [1, 1, 2, 1], [K, D, K, D], id="a repeat of any kept frame is left out"),
        pytest.param(3, [1, 2, 3, 4, 5], [K, S, S, K, S], id="every third"),
        pytest.param(2, [1, 2, 1, 3], [K, S, D, S], id="a duplicate does not shift the count"),
    ],
)
def test_frames_are_taken_in_turn_unless_seen(
    every: int, seeds: list[int], wanted: list[Fate]
) -> None:
    assert fates(Selection(live=False, every=every), seeds) == wanted


def test_frames_are_taken_by_the_clock() -> None:
    selection = Selection(live=False, every_s=1.0)
    taken = [selection.judge(frame(number, number * 0.4)) for number in range(7)]
    assert taken == [K, S, S, K, S, S, K]


def test_without_a_least_difference_repeats_are_kept() -> None:
    assert fates(Selection(live=False, min_difference=0), [1, 1, 1]) == [K, K, K]


def test_sensor_noise_alone_makes_no_new_image() -> None:
    selection, scene = Selection(live=False), np.full((240, 320, 3), 90.0)
    rng = np.random.default_rng(0)
    noisy = [(scene + rng.normal(0, 6, scene.shape)).clip(0, 255).astype(np.uint8) for _ in "abc"]
    taken = [selection.judge(Frame(image, 0, 0.0, "test")) for image in noisy]
    assert taken == [K, D, D]


def test_a_change_outside_the_region_of_interest_is_none() -> None:
    first, second = frame(1).image, frame(1).image.copy()
    second[:, 40:] = 0
    inside = Selection(live=False, geometry=Geometry(roi_xywh=(0, 0, 40, 60)))
    whole = Selection(live=False)
    for selection, wanted in ((inside, D), (whole, K)):
        selection.judge(Frame(first, 0, 0.0, "test"))
        assert selection.judge(Frame(second, 1, 0.0, "test")) is wanted


def test_what_cannot_be_judged_is_not_kept_and_the_reason_known() -> None:
    selection = Selection(live=False)
    black = Frame(np.zeros((60, 80, 3), np.uint8), 0, 0.0, "test")
    assert selection.judge(black) is X and selection.last_fault.startswith("black")
    assert selection.judge(BadFrame("cut off", 1, 0.0, "test")) is X
    assert selection.last_fault == "cut off"
    assert selection.counts == {X: 2}


def test_a_region_outside_the_frame_is_a_usage_error() -> None:
    selection = Selection(live=False, geometry=Geometry(roi_xywh=(0, 0, 400, 60)))
    with pytest.raises(UsageError, match="region of interest"):
        selection.judge(frame(1))
