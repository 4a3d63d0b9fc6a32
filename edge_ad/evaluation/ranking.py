"""How well scores rank anomalous above normal: exact, for the tens of millions of pixels too.

The figures need only the order of the scores, so that one sort of them is all it takes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import EdgeAdError

Scores = NDArray[np.floating]


def auroc(normal: Scores, anomalous: Scores) -> float:
    """Return the probability that an anomalous score (n,) exceeds a normal one (m,).

    Ties count half. Neither may be empty; raises EdgeAdError for NaN and infinity.
    """
    ranked, scores = np.sort(_finite(normal)), _finite(anomalous)
    above, at_least = (np.searchsorted(ranked, scores, side) for side in ("left", "right"))
    return float((above + at_least).sum() / 2 / len(ranked) / len(scores))


def average_precision(normal: Scores, anomalous: Scores) -> float:
    """Return the step-wise area under precision over recall of scores (m,) and (n,).

    `anomalous` may not be empty; raises EdgeAdError for NaN and infinity.
    """
    ranked = np.sort(_finite(normal))
    thresholds, count = np.unique(_finite(anomalous), return_counts=True)
    hits = np.cumsum(count[::-1])[::-1]
    false_alarms = len(ranked) - np.searchsorted(ranked, thresholds)
    return float(np.sum(count * hits / (hits + false_alarms)) / len(anomalous))


def roc_points(normal: Scores, anomalous: Scores) -> tuple[Scores, Scores]:
    """Return the shares (k,) of normal and of anomalous scores that reach each threshold.

    From above all scores to the lowest one. Neither may be empty; raises EdgeAdError for NaN and
    infinity.
    """
    thresholds = np.unique(np.concatenate([_finite(normal), _finite(anomalous)]))[::-1]
    shares = [1 - np.searchsorted(np.sort(scores), thresholds) / len(scores)
              for scores in (normal, anomalous)]  # fmt: skip
    return np.append(0, shares[0]), np.append(0, shares[1])


def _finite(scores: Scores) -> Scores:
    if not np.isfinite(scores).all():
        raise EdgeAdError(
            "scores contain NaN or Inf, so no metric can rank them. Expected finite numbers; check "
            "the detector, or train or export it again."
        )
    return scores
