"""Metrics of scored images, overall and by defect type."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from edge_ad.dataset import NORMAL
from edge_ad.evaluation.curves import Curve, precision_recall, region_overlap, roc, thin
from edge_ad.evaluation.metrics import aupro, iap, iap_at, image_auroc, pixel_ap, pixel_auroc
from edge_ad.evaluation.pixels import Mask, NormalCounts, Pixels, count_normal, pool_pixels
from edge_ad.evaluation.predictions import ScoredImage
from edge_ad.preprocess import Map

_TINY_PX = 2  # defects of one or two pixels are often made by resizing, so they are counted


class PooledPixels:
    """The pixels of scored images, overall and by defect type, each pooled once.

    The normal images, which every type is compared with, are read for all of them together.
    """

    def __init__(self, scored: Sequence[ScoredImage]) -> None:
        self._known = [
            (item.sample.kind, item.values, item.mask) for item in scored if item.mask is not None
        ]
        marked = [bool(mask.any()) for _, _, mask in self._known]
        self._any = any(marked)
        self._normal = [
            (values, mask)
            for (kind, values, mask), some in zip(self._known, marked, strict=True)
            if kind == NORMAL and not some
        ]
        self._others = [
            row for row, some in zip(self._known, marked, strict=True) if row[0] != NORMAL or some
        ]
        self._counts: NormalCounts | None = None

    @cached_property
    def overall(self) -> Pixels | None:
        """Those of all images with ground truth; None when no defect has a mask."""
        return self._pool(self._others) if self._any else None

    def of(self, kind: str) -> Pixels | None:
        """Return those of a type and of the normal images; None when no defect has a mask."""
        rows = [row for row in self._others if row[0] in (NORMAL, kind)]
        if self.overall is None or len(rows) == len(self._others):
            return self.overall
        return self._pool(rows) if any(mask.any() for _, _, mask in rows) else None

    def _pool(self, rows: Sequence[tuple[str, Map, Mask]]) -> Pixels:
        maps, masks = [values for _, values, _ in rows], [mask for _, _, mask in rows]
        return pool_pixels(maps, masks, beside=self._count_normal)

    def _count_normal(self, values: Map) -> NormalCounts:
        """Count the normal images' pixels; the first call has the values of all types."""
        if self._counts is None:
            self._counts = count_normal(self._normal, values)
        return self._counts.at(values)


def compute_metrics(
    scored: Sequence[ScoredImage], pooled: PooledPixels | None = None
) -> dict[str, Any]:
    """Compute every metric over all images, then per defect type against all normal images.

    A metric that is undefined, because masks or a class are missing, is None.
    """
    pooled = pooled or PooledPixels(scored)
    overall = _metrics(scored, pooled.overall)
    by_type = {
        kind: _metrics(
            [item for item in scored if item.sample.kind in (NORMAL, kind)], pooled.of(kind)
        )
        for kind in defect_types(scored)
    }
    return overall | {"by_type": by_type}


def defect_types(scored: Sequence[ScoredImage]) -> list[str]:
    """Return the defect types in alphabetical order."""
    return sorted({item.sample.kind for item in scored} - {NORMAL})


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


def _metrics(scored: Sequence[ScoredImage], pixels: Pixels | None) -> dict[str, Any]:
    anomalous = [item.sample.anomalous for item in scored]
    counts = {"normal": anomalous.count(False), "anomalous": anomalous.count(True)}
    image = {"image_auroc": image_auroc([item.score for item in scored], anomalous)}
    return counts | image | _pixel_metrics(pixels)


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
