"""What `edge-ad evaluate` says of a detector: one dictionary, and a folder with it and images."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_ad.errors import IncompatibleError
from edge_ad.evaluation.metrics import FPR_LIMIT, best_threshold
from edge_ad.evaluation.predictions import LeftOut, ScoredImage
from edge_ad.evaluation.summary import curves_of, kinds_of, metrics_of, pixels_of, verdicts
from edge_ad.files import write_text
from edge_ad.geometry import Geometry
from edge_ad.manifest import check_geometry, load_sidecar

STORED, GIVEN, FITTED = "stored", "given", "best F1 on these images"
_log = logging.getLogger(__name__)


def stored_threshold(artifact: Path, geometry: Geometry, trained: Geometry) -> float | None:
    """The image threshold that the line would use, None when there is none to use.

    Raises IncompatibleError when it was set under another geometry than the one judged with.
    """
    try:
        sidecar = load_sidecar(artifact)
    except IncompatibleError as error:
        _log.warning("the stored threshold is not used: %s", error)
        return None
    if sidecar is None or sidecar.threshold is None:
        return None
    check_geometry(artifact, sidecar.threshold, geometry, trained)
    return sidecar.threshold.image


def report_of(
    judged: Sequence[ScoredImage],
    left_out: LeftOut,
    threshold: float | None = None,
    *,
    origin: str = STORED,
) -> dict[str, Any]:
    """Metrics overall and by type, verdicts at a threshold, and what was not measured and why.

    Without a threshold, the one that suits these images best tells the verdicts; `origin` says
    where a given one is from.
    """
    found = metrics_of(judged)
    threshold, origin = (_fitted(judged), FITTED) if threshold is None else (threshold, origin)
    if threshold is not None:
        verdict = verdicts(judged, threshold)
        found["at_threshold"] = {"image": threshold, "from": origin, **verdict}
        for kind in kinds_of(judged):
            some = [one for one in judged if one.sample.kind == kind]
            found["by_type"][kind]["escapes"] = verdicts(some, threshold)["escapes"]
    unmasked = {one.sample.kind for one in judged if one.mask is None}
    return found | {
        "left_out": left_out.reasons,
        "types_without_masks": sorted(unmasked),
        "defects_out_of_sight": [str(one.sample.path) for one in judged if one.hidden],
        "aupro_limit": FPR_LIMIT,
    }


def write_report(
    folder: Path, result: dict[str, Any], judged: Sequence[ScoredImage], geometry: Geometry
) -> None:
    """Write report.json with the curves' points, curves.png and misses.png."""
    from edge_ad.evaluation.miss_sheet import write_misses
    from edge_ad.evaluation.plots import write_curves

    curves = curves_of(pixels_of(judged))
    points = {name: {"x": c.x.tolist(), "y": c.y.tolist()} for name, c in curves.items()}
    scores = {str(one.sample.path): one.score for one in judged}
    full = result | {"curves": points, "scores": scores}
    threshold = result.get("at_threshold", {}).get("image")
    write_text(folder / "report.json", json.dumps(full, indent=1, allow_nan=False) + "\n")
    write_curves(judged, curves, threshold, folder / "curves.png")
    write_misses(judged, threshold, geometry, folder / "misses.png")


def _fitted(judged: Sequence[ScoredImage]) -> float | None:
    scores, labels = [one.score for one in judged], [one.sample.anomalous for one in judged]
    return best_threshold(scores, labels)
