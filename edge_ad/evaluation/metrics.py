"""Image, pixel and instance metrics of anomaly detection, over one data set.

Higher scores mean more anomalous. What is undefined, for want of a class or a defect, is None and
never 0.5. Definitions: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021 (AUPRO);
Zhang et al., "DeSTSeg", CVPR 2023, section 4.1 (IAP and IAP@k).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from edge_ad.errors import EdgeAdError

Floats = NDArray[np.float64]
_EIGHT = np.ones((3, 3), np.int64)  # neighbours that touch at a corner are one defect


@dataclass(frozen=True, slots=True)
class Pixels:
    """All judged pixels of a data set, pooled.

    scores float32 (n,), anomalous bool (n,), instance int64 (n,): 0 for normal pixels, else the
    number of the connected defect (8 neighbours), unique over the data set.
    """

    scores: NDArray[np.float32]
    anomalous: NDArray[np.bool_]
    instance: NDArray[np.int64]


def pooled(maps: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]]) -> Pixels:
    """Pool maps and ground truth of equal shapes; pixels at minus infinity (ignored) are left out.

    Raises EdgeAdError for NaN, which no metric can rank.
    """
    scores, anomalous, instances, found = [], [], [], 0
    for values, mask in zip(maps, masks, strict=True):
        labels, count = ndimage.label(mask, structure=_EIGHT)
        kept = ~np.isneginf(values)
        scores.append(values[kept])
        anomalous.append(mask[kept])
        instances.append(np.where(mask, labels.astype(np.int64) + found, 0)[kept])
        found += count
    pixels = Pixels(np.concatenate(scores), np.concatenate(anomalous), np.concatenate(instances))
    _check_finite(pixels.scores, "anomaly maps")
    return pixels


def image_auroc(scores: Sequence[float], anomalous: Sequence[bool]) -> float | None:
    """P(anomalous scores higher than normal), ties counting half."""
    values = np.asarray(scores, np.float64)
    _check_finite(values, "image scores")
    return float(roc_auc_score(anomalous, values)) if _both(np.asarray(anomalous)) else None


def pixel_auroc(pixels: Pixels) -> float | None:
    """The same over all pixels of all pictures."""
    if not _both(pixels.anomalous):
        return None
    return float(roc_auc_score(pixels.anomalous, pixels.scores))


def pixel_ap(pixels: Pixels) -> float | None:
    """Average precision: the step-wise area under precision over recall."""
    if not pixels.anomalous.any():
        return None
    return float(average_precision_score(pixels.anomalous, pixels.scores))


def pro_curve(pixels: Pixels) -> tuple[Floats, Floats]:
    """False-positive rate and mean region overlap, at every distinct score, from (0, 0) to (1, 1).

    Every connected defect weighs the same, whatever its size.
    """
    order = np.argsort(-pixels.scores, kind="stable")
    sizes = np.bincount(pixels.instance)
    sizes[0] = 0
    weight = np.zeros(len(sizes))
    weight[sizes > 0] = 1 / (sizes[sizes > 0] * np.count_nonzero(sizes))
    normal = ~pixels.anomalous[order]
    overlap = np.cumsum(weight[pixels.instance[order]])
    rate = np.cumsum(normal) / max(1, normal.sum())
    last = np.append(np.diff(pixels.scores[order]) != 0, True)
    return np.append(0.0, rate[last]), np.append(0.0, overlap[last])


def aupro(pixels: Pixels, limit: float = 0.3) -> float | None:
    """Normalised area under the overlap curve up to the false-positive rate `limit`."""
    if not _both(pixels.anomalous):
        return None
    rate, overlap = pro_curve(pixels)
    inside = rate <= limit
    at_limit = np.interp(limit, rate, overlap)
    x, y = np.append(rate[inside], limit), np.append(overlap[inside], at_limit)
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) / limit)


def instance_curve(pixels: Pixels) -> tuple[Floats, Floats]:
    """Instance recall (falling) and pixel precision (interpolated) at each defect's critical score.

    A defect counts as found at a threshold when more than half of its pixels reach it.
    """
    order = np.argsort(-pixels.scores, kind="stable")
    descending = pixels.scores[order]
    hits = np.cumsum(pixels.anomalous[order])
    critical = np.sort(_critical_scores(pixels))
    reached = np.searchsorted(-descending, -critical, side="right")
    precision = np.maximum.accumulate(hits[reached - 1] / reached)
    return 1 - np.arange(len(critical)) / len(critical), precision


def iap(pixels: Pixels) -> float | None:
    """Instance average precision: the mean over the defects' critical scores."""
    if not pixels.anomalous.any():
        return None
    return float(instance_curve(pixels)[1].mean())


def iap_at(pixels: Pixels, recall: float) -> float | None:
    """Precision where at least `recall` of the defects are found."""
    if not pixels.anomalous.any():
        return None
    recalls, precision = instance_curve(pixels)
    return float(precision[np.flatnonzero(recalls >= recall - 1e-9)[-1]])


def instances(pixels: Pixels) -> NDArray[np.int64]:
    """Pixel counts of the connected defects."""
    sizes = np.bincount(pixels.instance)[1:]
    return sizes[sizes > 0]


def _critical_scores(pixels: Pixels) -> NDArray[np.float32]:
    """The highest threshold at which each defect still counts as found."""
    scores, number = pixels.scores[pixels.anomalous], pixels.instance[pixels.anomalous]
    order = np.lexsort((-scores, number))
    scores, number = scores[order], number[order]
    _, first, count = np.unique(number, return_index=True, return_counts=True)
    return np.asarray(scores[first + count // 2])  # never rounded: it is compared with scores


def _both(anomalous: NDArray[np.bool_]) -> bool:
    return bool(anomalous.any() and not anomalous.all())


def _check_finite(values: NDArray[np.floating], what: str) -> None:
    if not np.isfinite(values).all():
        raise EdgeAdError(f"the {what} hold values that are not numbers; the detector is broken.")
