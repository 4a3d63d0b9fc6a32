"""What `edge-ad evaluate` says of a detector: one dictionary, and a folder with it and pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_ad.errors import IncompatibleError
from edge_ad.evaluation.judged import Judged, LeftOut
from edge_ad.evaluation.metrics import FPR_LIMIT, best_threshold
from edge_ad.evaluation.summary import curves_of, kinds_of, metrics_of, pixels_of, verdicts
from edge_ad.files import write_text
from edge_ad.geometry import Geometry
from edge_ad.manifest import load_sidecar

STORED, FITTED = "stored", "best F1 on these pictures"
_log = logging.getLogger(__name__)


def report_of(artifact: Path, judged: Sequence[Judged], left_out: LeftOut) -> dict[str, Any]:
    """Metrics overall and by type, verdicts at the threshold, and what was not measured and why."""
    found = metrics_of(judged)
    threshold = _threshold(artifact, judged)
    if threshold is not None:
        found["at_threshold"] = {**threshold, **verdicts(judged, threshold["image"])}
        for kind in kinds_of(judged):
            some = [one for one in judged if one.sample.kind == kind]
            found["by_type"][kind]["escapes"] = verdicts(some, threshold["image"])["escapes"]
    unmasked = {one.sample.kind for one in judged if one.mask is None}
    return found | {
        "left_out": left_out.reasons,
        "types_without_masks": sorted(unmasked),
        "defects_out_of_sight": [str(one.sample.path) for one in judged if one.hidden],
        "aupro_limit": FPR_LIMIT,
    }


def write_report(
    folder: Path, result: dict[str, Any], judged: Sequence[Judged], geometry: Geometry
) -> None:
    """Write report.json with the curves' points, curves.png and misses.png."""
    from edge_ad.evaluation.pictures import write_misses
    from edge_ad.evaluation.plots import write_curves

    curves = curves_of(pixels_of(judged))
    points = {name: {"x": c.x.tolist(), "y": c.y.tolist()} for name, c in curves.items()}
    scores = {str(one.sample.path): one.score for one in judged}
    full = result | {"curves": points, "scores": scores}
    threshold = result.get("at_threshold", {}).get("image")
    write_text(folder / "report.json", json.dumps(full, indent=1, allow_nan=False) + "\n")
    write_curves(judged, curves, threshold, folder / "curves.png")
    write_misses(judged, threshold, geometry, folder / "misses.png")


def _threshold(artifact: Path, judged: Sequence[Judged]) -> dict[str, Any] | None:
    """The threshold the line would use, or else the one that suits these pictures best."""
    try:
        sidecar = load_sidecar(artifact)
    except IncompatibleError as error:
        _log.warning("the stored threshold is not used: %s", error)
        sidecar = None
    if sidecar is not None and sidecar.threshold is not None:
        return {"image": sidecar.threshold.image, "from": STORED}
    scores, labels = [one.score for one in judged], [one.sample.anomalous for one in judged]
    best = best_threshold(scores, labels)
    return None if best is None else {"image": best, "from": FITTED}
