"""AUROC and average precision from two sets of scores, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.ranking import auroc, average_precision, roc_points


@pytest.mark.parametrize("levels", [2, 7, 1_000_000])
@pytest.mark.parametrize(("normal", "anomalous"), [(1, 1), (50, 3), (3, 50), (400, 400)])
def test_figures_are_those_of_scikit_learn_with_and_without_ties(
    levels: int, normal: int, anomalous: int
) -> None:
    rng = np.random.default_rng(levels + normal)
    scores = (rng.integers(0, levels, normal + anomalous) / levels).astype(np.float32)
    labels = np.repeat([0, 1], [normal, anomalous])
    both = scores[:normal], scores[normal:]
    assert auroc(*both) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    expected = average_precision_score(labels, scores)
    assert average_precision(*both) == pytest.approx(expected, abs=1e-12)
    false_rate, true_rate, _ = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc_points(*both), (false_rate, true_rate), atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("figure", [auroc, average_precision, roc_points])
def test_scores_that_cannot_be_ranked_are_refused(figure, bad) -> None:  # type: ignore[no-untyped-def]
    fine, broken = np.ones(3), np.array([1, bad, 2])
    for pair in ((fine, broken), (broken, fine)):
        with pytest.raises(EdgeAdError, match="NaN or Inf"):
            figure(*pair)
