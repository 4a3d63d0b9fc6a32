"""From judged pictures to the numbers of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_ad.dataset import GOOD
from edge_ad.evaluation.judged import Judged
from edge_ad.evaluation.metrics import (
    Pixels,
    aupro,
    iap,
    iap_at,
    image_auroc,
    instances,
    pixel_ap,
    pixel_auroc,
    pooled,
)

_TINY_PX = 2  # defects of one or two pixels are made by resizing, and worth a word


def metrics_of(judged: Sequence[Judged]) -> dict[str, Any]:
    """Every metric over all pictures, then per defect type against all normal pictures.

    A metric that is undefined, for want of masks or of a class, is None.
    """
    kinds = sorted({one.sample.kind for one in judged} - {GOOD})
    whole = _numbers(judged)
    by_type = {
        kind: _numbers([j for j in judged if j.sample.kind in (GOOD, kind)]) for kind in kinds
    }
    return whole | {"by_type": by_type}


def pixels_of(judged: Sequence[Judged]) -> Pixels | None:
    """The pixels of all pictures whose ground truth is known; None when no defect has a mask."""
    known = [one for one in judged if one.mask is not None]
    if not any(one.mask is not None and one.mask.any() for one in known):
        return None
    return pooled(
        [one.values for one in known], [one.mask for one in known if one.mask is not None]
    )


def _numbers(judged: Sequence[Judged]) -> dict[str, Any]:
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
    sizes = instances(pixels)
    counted = {"defects": len(sizes), "tiny_defects": int((sizes <= _TINY_PX).sum())}
    return dict(zip(names, values, strict=True)) | counted
