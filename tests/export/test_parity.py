"""Differences between two answers, and the limit they must keep."""

from __future__ import annotations

import numpy as np
import pytest

from edge_ad.engine import Prediction
from edge_ad.errors import GateFailed
from edge_ad.export.parity import Tolerance, check_parity, compare, spearman

TENTH = Tolerance(0.1, "a test says so")


def answer(*scores: float) -> Prediction:
    values = np.array(scores, np.float32)
    return Prediction(np.tile(values[:, None, None], (1, 2, 3)), values)


def test_equal_answers_agree_exactly() -> None:
    found = compare(answer(1, 2, 3), answer(1, 2, 3))
    assert found.max_abs_map == found.max_abs_score == 0
    assert found.spearman == pytest.approx(1)


def test_the_largest_difference_counts_not_the_mean() -> None:
    found = compare(answer(1, 2, 4), answer(1, 2, 3.5))
    assert found.max_abs_score == found.max_abs_map == 0.5
    assert found.mean_abs_map == pytest.approx(0.5 / 3)


@pytest.mark.parametrize(
    ("other", "passes"),
    [
        pytest.param((1.0, 2.0, 4.39), True, id="within a tenth of the largest value"),
        pytest.param((1.0, 2.0, 4.41), False, id="beyond it"),
        pytest.param((1.3, 2.0, 4.0), True, id="small values share the largest one's limit"),
    ],
)
def test_the_limit_is_a_share_of_the_largest_value(
    other: tuple[float, ...], *, passes: bool
) -> None:
    assert compare(answer(1, 2, 4), answer(*other)).within(TENTH) is passes


def test_damaged_copies_show_what_a_map_is_worth_but_their_scores_do_not_count() -> None:
    """0.02 is much of a good part's 0.1, little of a defective one's 4; a threshold is near 0.1."""
    good_alone = compare(answer(0.1), answer(0.12))
    found = compare(answer(0.1, 4), answer(0.12, 4), given=1)
    assert (good_alone.map_scale, found.map_scale) == (np.float32(0.1), 4)
    assert found.score_scale == good_alone.score_scale
    assert found.anomalous == 1
    assert not found.within(TENTH)
    only_maps = Prediction(answer(0.12, 4).maps, answer(0.1, 9).scores)
    assert compare(answer(0.1, 4), only_maps, given=1).within(TENTH)


def test_a_difference_beyond_the_limit_names_figures_and_reason() -> None:
    with pytest.raises(GateFailed, match=r"plan: on 2 frames.*share of 0\.1.*a test says so"):
        check_parity(compare(answer(1, 2), answer(1, 3)), TENTH, "plan")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_numbers_that_are_not_finite_never_agree(bad: float, side: int) -> None:
    answers = [answer(1, 2, 3), answer(1, 2, 3)]
    answers[side].maps[1, 0, 0] = bad
    with pytest.raises(GateFailed, match="not finite on 1 of 3 frames, the first being frame 1"):
        compare(answers[0], answers[1])


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        pytest.param([1, 2, 3, 4], [10, 20, 30, 99], 1.0, id="same order"),
        pytest.param([1, 2, 3, 4], [4, 3, 2, 1], -1.0, id="reversed"),
        pytest.param([1, 2, 2, 3], [1, 2, 3, 4], 0.9486833, id="ties share their mean rank"),
        pytest.param([1, 1, 1], [1, 2, 3], None, id="a constant has no order"),
    ],
)
def test_spearman(a: list[float], b: list[float], wanted: float | None) -> None:
    found = spearman(np.array(a, np.float32), np.array(b, np.float32))
    assert found == (None if wanted is None else pytest.approx(wanted))
