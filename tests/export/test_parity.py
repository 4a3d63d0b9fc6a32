"""Differences between two predictions, and their limits."""

from __future__ import annotations

import numpy as np
import pytest

from edge_ad.engine import Prediction
from edge_ad.errors import GateFailed
from edge_ad.export.parity import Tolerance, check_parity, compare, spearman

TENTH = Tolerance(0.1, "set by a test")


def prediction(*scores: float) -> Prediction:
    values = np.array(scores, np.float32)
    return Prediction(np.tile(values[:, None, None], (1, 2, 3)), values)


def test_equal_predictions_agree_exactly() -> None:
    agreement = compare(prediction(1, 2, 3), prediction(1, 2, 3))
    assert agreement.max_abs_map == agreement.max_abs_score == 0
    assert agreement.spearman == pytest.approx(1)


def test_the_largest_difference_counts_not_the_mean() -> None:
    agreement = compare(prediction(1, 2, 4), prediction(1, 2, 3.5))
    assert agreement.max_abs_score == agreement.max_abs_map == 0.5
    assert agreement.mean_abs_map == pytest.approx(0.5 / 3)


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
    assert compare(prediction(1, 2, 4), prediction(*other)).within(TENTH) is passes


def test_maps_and_scores_have_to_agree_each() -> None:
    reference, other = prediction(1, 2, 4), prediction(1, 2, 3)
    assert not compare(reference, Prediction(other.maps, reference.scores)).within(TENTH)
    assert not compare(reference, Prediction(reference.maps, other.scores)).within(TENTH)


def test_maps_of_anomalous_copies_count_and_their_scores_do_not() -> None:
    """0.02 is large against a normal part's 0.1, small against an anomalous part's 4."""
    normal_only = compare(prediction(0.1), prediction(0.12))
    agreement = compare(prediction(0.1, 4), prediction(0.12, 4), originals=1)
    assert (normal_only.map_scale, agreement.map_scale) == (np.float32(0.1), 4)
    assert agreement.score_scale == normal_only.score_scale
    assert agreement.anomalous == 1
    assert not agreement.within(TENTH)
    only_maps = Prediction(prediction(0.12, 4).maps, prediction(0.1, 9).scores)
    assert compare(prediction(0.1, 4), only_maps, originals=1).within(TENTH)


def test_a_difference_beyond_the_limit_names_figures_and_reason() -> None:
    with pytest.raises(GateFailed, match=r"plan: on 2 frames.*share of 0\.1.*set by a test"):
        check_parity(compare(prediction(1, 2), prediction(1, 3)), TENTH, "plan")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_numbers_that_are_not_finite_never_agree(value: float, side: int) -> None:
    predictions = [prediction(1, 2, 3), prediction(1, 2, 3)]
    predictions[side].maps[1, 0, 0] = value
    with pytest.raises(
        GateFailed, match=r"not finite \(NaN or Inf\) on 1 of 3 frames, the first being"
    ):
        compare(predictions[0], predictions[1])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        pytest.param([1, 2, 3, 4], [10, 20, 30, 99], 1.0, id="same order"),
        pytest.param([1, 2, 3, 4], [4, 3, 2, 1], -1.0, id="reversed"),
        pytest.param([1, 2, 2, 3], [1, 2, 3, 4], 0.9486833, id="ties share their mean rank"),
        pytest.param([1, 1, 1], [1, 2, 3], None, id="a constant has no order"),
    ],
)
def test_spearman(a: list[float], b: list[float], expected: float | None) -> None:
    agreement = spearman(np.array(a, np.float32), np.array(b, np.float32))
    assert agreement == (None if expected is None else pytest.approx(expected))
