"""From judged images to the numbers of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_ad.dataset import GOOD
from edge_ad.evaluation.curves import Curve, precision_recall, region_overlap, roc, thinned
from edge_ad.evaluation.metrics import aupro, iap, iap_at, image_auroc, pixel_ap, pixel_auroc
from edge_ad.evaluation.pixels import Pixels, pooled
from edge_ad.evaluation.predictions import ScoredImage

_TINY_PX = 2  # defects of one or two pixels are often made by resizing, and worth a word


def metrics_of(judged: Sequence[ScoredImage]) -> dict[str, Any]:
    """Every metric over all images, then per defect type against all normal images.

    A metric that is undefined, for want of masks or of a class, is None.
    """
    whole = _numbers(judged)
    by_type = {
        kind: _numbers([j for j in judged if j.sample.kind in (GOOD, kind)])
        for kind in kinds_of(judged)
    }
    return whole | {"by_type": by_type}


def kinds_of(judged: Sequence[ScoredImage]) -> list[str]:
    """The defect types, by name."""
    return sorted({one.sample.kind for one in judged} - {GOOD})


def pixels_of(judged: Sequence[ScoredImage]) -> Pixels | None:
    """The pixels of all images whose ground truth is known; None when no defect has a mask."""
    known = [(one.values, one.mask) for one in judged if one.mask is not None]
    if not any(mask.any() for _, mask in known):
        return None
    return pooled([values for values, _ in known], [mask for _, mask in known])


def verdicts(judged: Sequence[ScoredImage], threshold: float) -> dict[str, int]:
    """Anomalous images that pass (escapes) and normal ones that do not (overkill)."""
    return {
        "escapes": sum(one.sample.anomalous and one.score <= threshold for one in judged),
        "overkill": sum(not one.sample.anomalous and one.score > threshold for one in judged),
    }


def curves_of(pixels: Pixels | None) -> dict[str, Curve]:
    """The pixel curves by name, thin enough to draw and to store."""
    if pixels is None or not pixels.both_classes:
        return {}
    drawn = {
        "pixel_roc": roc(pixels),
        "pixel_pr": precision_recall(pixels),
        "pro": region_overlap(pixels),
    }
    return {name: thinned(curve) for name, curve in drawn.items()}


def _numbers(judged: Sequence[ScoredImage]) -> dict[str, Any]:
    anomalous = [one.sample.anomalous for one in judged]
    counts = {"good": anomalous.count(False), "defective": anomalous.count(True)}
    image = {"image_auroc": image_auroc([one.score for one in judged], anomalous)}
    return counts | image | _pixel_numbers(pixels_of(judged))


def _pixel_numbers(pixels: Pixels | None) -> dict[str, Any]:
    names = ("pixel_auroc", "pixel_ap", "aupro", "iap", "iap90")
    if pixels is None:
        return dict.fromkeys(names) | {"defects": 0, "tiny_defects": 0}
    values = (
        pixel_auroc(pixels), pixel_ap(pixels), aupro(pixels), iap(pixels), iap_at(pixels, 0.9)
    )  # fmt: skip
    tiny = int((pixels.sizes <= _TINY_PX).sum())
    counted = {"defects": len(pixels.sizes), "tiny_defects": tiny}
    return dict(zip(names, values, strict=True)) | counted
