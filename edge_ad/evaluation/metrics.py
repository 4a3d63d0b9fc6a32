"""Image, pixel and instance metrics of anomaly detection, over one data set.

Higher scores mean more anomalous. What is undefined, for want of a class or a defect, is None and
never 0.5. Definitions: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021 (AUPRO);
Zhang et al., "DeSTSeg", CVPR 2023, section 4.1 (IAP and IAP@k).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score

from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.curves import (
    Curve,
    Floats,
    precision,
    precision_recall,
    region_overlap,
    roc,
    up_to,
)
from edge_ad.evaluation.pixels import Pixels, pooled

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
    "pooled",
]
FPR_LIMIT = 0.3
_RECALL_SLACK = 1e-9  # recalls are fractions of small integers


def image_auroc(scores: Sequence[float], anomalous: Sequence[bool]) -> float | None:
    """P(anomalous scores higher than normal), ties counting half."""
    values = _finite(scores)
    return float(roc_auc_score(anomalous, values)) if _both(np.asarray(anomalous)) else None


def best_threshold(scores: Sequence[float], anomalous: Sequence[bool]) -> float | None:
    """The threshold with the highest F1, halfway between two scores; what is above it is rejected.

    It is chosen by the labels it is then judged with, so it flatters: good for looking at misses.
    """
    values = _finite(scores)
    if not _both(np.asarray(anomalous)):
        return None
    found, recall, at = precision_recall_curve(anomalous, values)
    f1 = 2 * found * recall / np.maximum(found + recall, np.finfo(float).tiny)
    lowest = float(at[int(f1[:-1].argmax())])  # the last point has no threshold
    below = values[values < lowest]
    return (lowest + float(below.max())) / 2 if below.size else float(np.nextafter(lowest, -np.inf))


def pixel_auroc(pixels: Pixels) -> float | None:
    """The same over all pixels of all images."""
    return _area(roc(pixels)) if pixels.both_classes else None


def pixel_ap(pixels: Pixels) -> float | None:
    """Average precision: the step-wise area under precision over recall."""
    if not len(pixels.values):
        return None
    recall, found = precision_recall(pixels)
    return float(np.sum(np.diff(recall, prepend=0.0) * found))


def aupro(pixels: Pixels, limit: float = FPR_LIMIT) -> float | None:
    """Normalised area under the overlap curve up to the false-positive rate `limit`."""
    if not pixels.both_classes:
        return None
    return _area(up_to(region_overlap(pixels), limit)) / limit


def instance_curve(pixels: Pixels) -> Curve:
    """Instance recall (falling) and pixel precision (interpolated) at each defect's critical score.

    A defect counts as found at a threshold when more than half of its pixels reach it.
    """
    at = np.searchsorted(pixels.values, pixels.critical)
    recall: Floats = 1 - np.arange(len(at)) / max(1, len(at))
    return Curve(recall, np.maximum.accumulate(precision(pixels)[at]))


def iap(pixels: Pixels) -> float | None:
    """Instance average precision: the mean over the defects' critical scores."""
    return float(instance_curve(pixels).y.mean()) if len(pixels.values) else None


def iap_at(pixels: Pixels, recall: float) -> float | None:
    """Precision where at least `recall` of the defects are found."""
    if not len(pixels.values):
        return None
    recalls, found = instance_curve(pixels)
    return float(found[np.flatnonzero(recalls >= recall - _RECALL_SLACK)[-1]])


def _area(curve: Curve) -> float:
    return float(auc(curve.x, curve.y))


def _both(anomalous: NDArray[np.bool_]) -> bool:
    return bool(anomalous.any() and not anomalous.all())


def _finite(scores: Sequence[float]) -> Floats:
    values = np.asarray(scores, np.float64)
    if not np.isfinite(values).all():
        raise EdgeAdError(
            "the image scores hold values that are not numbers; the detector is broken."
        )
    return values
