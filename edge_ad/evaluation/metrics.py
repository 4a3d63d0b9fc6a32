"""Image, pixel and instance metrics of anomaly detection, over one data set.

Higher scores mean more anomalous. A metric that is undefined, because a class or the defects are
missing, is None and never 0.5. Definitions: Bergmann et al., "The MVTec Anomaly Detection
Dataset", IJCV 2021 (AUPRO); Zhang et al., "DeSTSeg", CVPR 2023, section 4.1 (IAP and IAP@k).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.curves import (
    Curve,
    Floats,
    clip_curve,
    precision,
    precision_recall,
    region_overlap,
    roc,
)
from edge_ad.evaluation.pixels import Pixels, pool_pixels
from edge_ad.evaluation.ranking import auroc

__all__ = [
    "Pixels",
    "aupro",
    "best_threshold",
    "iap",
    "iap_at",
    "image_auroc",
    "instance_curve",
    "pixel_ap",
    "pixel_auroc",
    "pool_pixels",
]
FPR_LIMIT = 0.3
_RECALL_SLACK = 1e-9  # recalls are fractions of small integers


def image_auroc(scores: Sequence[float], anomalous: Sequence[bool]) -> float | None:
    """Return the probability that an anomalous image outscores a normal one; ties count half."""
    values, labels = _finite(scores), np.asarray(anomalous, np.bool_)
    return auroc(values[~labels], values[labels]) if _both(labels) else None


def best_threshold(scores: Sequence[float], anomalous: Sequence[bool]) -> float | None:
    """Return the threshold with the highest F1, halfway between two scores.

    Images above it are rejected. It is fitted on the labels it is then evaluated with, so its
    figures are optimistic: use it to look at misses.
    """
    values, labels = _finite(scores), np.asarray(anomalous, np.bool_)
    if not _both(labels):
        return None
    thresholds = np.unique(values)
    hits = labels.sum() - np.searchsorted(np.sort(values[labels]), thresholds)
    rejected = len(values) - np.searchsorted(np.sort(values), thresholds)
    f1 = 2 * hits / (rejected + labels.sum())
    lowest = float(thresholds[int(f1.argmax())])
    below = values[values < lowest]
    return (lowest + float(below.max())) / 2 if below.size else float(np.nextafter(lowest, -np.inf))


def pixel_auroc(pixels: Pixels) -> float | None:
    """Return the AUROC over all pixels of all images."""
    return _area(roc(pixels)) if pixels.both_classes else None


def pixel_ap(pixels: Pixels) -> float | None:
    """Return average precision: the step-wise area under precision over recall."""
    if not len(pixels.values):
        return None
    recalls, precisions = precision_recall(pixels)
    return float(np.sum(np.diff(recalls, prepend=0.0) * precisions))


def aupro(pixels: Pixels, limit: float = FPR_LIMIT) -> float | None:
    """Return the area under the PRO curve up to the false-positive rate `limit`, over `limit`."""
    if not pixels.both_classes:
        return None
    return _area(clip_curve(region_overlap(pixels), limit)) / limit


def instance_curve(pixels: Pixels) -> Curve:
    """Return instance recall and interpolated pixel precision at each defect's critical score.

    Recall falls along the curve. A defect counts as detected at a threshold when more
    than half of its pixels reach it.
    """
    at = np.searchsorted(pixels.values, pixels.critical)
    recall: Floats = 1 - np.arange(len(at)) / max(1, len(at))
    return Curve(recall, np.maximum.accumulate(precision(pixels)[at]))


def iap(pixels: Pixels) -> float | None:
    """Return instance average precision: the mean over the defects' critical scores."""
    return float(instance_curve(pixels).y.mean()) if len(pixels.values) else None


def iap_at(pixels: Pixels, recall: float) -> float | None:
    """Return the precision where at least `recall` of the defects are detected."""
    if not len(pixels.values):
        return None
    recalls, precisions = instance_curve(pixels)
    return float(precisions[np.flatnonzero(recalls >= recall - _RECALL_SLACK)[-1]])


def _area(curve: Curve) -> float:
    """Return the area under a curve by the trapezoidal rule."""
    return float(np.sum(np.diff(curve.x) * (curve.y[1:] + curve.y[:-1])) / 2)


def _both(anomalous: NDArray[np.bool_]) -> bool:
    return bool(anomalous.any() and not anomalous.all())


def _finite(scores: Sequence[float]) -> Floats:
    values = np.asarray(scores, np.float64)
    if not np.isfinite(values).all():
        raise EdgeAdError(
            "image scores contain NaN or Inf, so no metric can rank them. Expected finite numbers; "
            "check the detector, or train or export it again."
        )
    return values
