"""Metrics of scored images, overall and by defect type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_ad.dataset import NORMAL
from edge_ad.evaluation.curves import Curve, precision_recall, region_overlap, roc, thin
from edge_ad.evaluation.metrics import aupro, iap, iap_at, image_auroc, pixel_ap, pixel_auroc
from edge_ad.evaluation.pixels import Pixels, pool_pixels
from edge_ad.evaluation.predictions import ScoredImage

_TINY_PX = 2  # defects of one or two pixels are often made by resizing, so they are counted


def compute_metrics(scored: Sequence[ScoredImage]) -> dict[str, Any]:
    """Compute every metric over all images, then per defect type against all normal images.

    A metric that is undefined, because masks or a class are missing, is None.
    """
    overall = _metrics(scored)
    by_type = {
        kind: _metrics([item for item in scored if item.sample.kind in (NORMAL, kind)])
        for kind in defect_types(scored)
    }
    return overall | {"by_type": by_type}


def defect_types(scored: Sequence[ScoredImage]) -> list[str]:
    """Return the defect types in alphabetical order."""
    return sorted({item.sample.kind for item in scored} - {NORMAL})


def masked_pixels(scored: Sequence[ScoredImage]) -> Pixels | None:
    """Pool the pixels of all images with ground truth; None when no defect has a mask."""
    known = [(item.values, item.mask) for item in scored if item.mask is not None]
    if not any(mask.any() for _, mask in known):
        return None
    return pool_pixels([values for values, _ in known], [mask for _, mask in known])


def count_misses(scored: Sequence[ScoredImage], threshold: float) -> dict[str, int]:
    """Count anomalous images that pass (escapes) and normal ones that are rejected (overkill)."""
    return {
        "escapes": sum(item.sample.anomalous and item.score <= threshold for item in scored),
        "overkill": sum(not item.sample.anomalous and item.score > threshold for item in scored),
    }


def pixel_curves(pixels: Pixels | None) -> dict[str, Curve]:
    """Return the pixel curves by name, with few enough points to plot and store."""
    if pixels is None or not pixels.both_classes:
        return {}
    curves = {
        "pixel_roc": roc(pixels),
        "pixel_pr": precision_recall(pixels),
        "pro": region_overlap(pixels),
    }
    return {name: thin(curve) for name, curve in curves.items()}


def _metrics(scored: Sequence[ScoredImage]) -> dict[str, Any]:
    anomalous = [item.sample.anomalous for item in scored]
    counts = {"normal": anomalous.count(False), "anomalous": anomalous.count(True)}
    image = {"image_auroc": image_auroc([item.score for item in scored], anomalous)}
    return counts | image | _pixel_metrics(masked_pixels(scored))


def _pixel_metrics(pixels: Pixels | None) -> dict[str, Any]:
    names = ("pixel_auroc", "pixel_ap", "aupro", "iap", "iap90")
    if pixels is None:
        return dict.fromkeys(names) | {"defects": 0, "tiny_defects": 0}
    values = (
        pixel_auroc(pixels), pixel_ap(pixels), aupro(pixels), iap(pixels), iap_at(pixels, 0.9)
    )  # fmt: skip
    tiny = int((pixels.sizes <= _TINY_PX).sum())
    counted = {"defects": len(pixels.sizes), "tiny_defects": tiny}
    return dict(zip(names, values, strict=True)) | counted
