"""Report of `edge-ad evaluate`: a dictionary, and a folder with it and plots."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_ad.errors import IncompatibleError
from edge_ad.evaluation.metrics import FPR_LIMIT, best_threshold
from edge_ad.evaluation.predictions import ScoredImage
from edge_ad.evaluation.summary import (
    PooledPixels,
    compute_metrics,
    count_misses,
    defect_types,
    pixel_curves,
)
from edge_ad.files import write_text
from edge_ad.geometry import Geometry
from edge_ad.parts import PartAssignment
from edge_ad.sidecar import check_geometry, load_sidecar

STORED, GIVEN, FITTED = "stored", "given", "best F1 on these images"
_log = logging.getLogger(__name__)


def stored_threshold(artifact: Path, geometry: Geometry, trained: Geometry) -> float | None:
    """Return the stored image threshold, None when there is none for this artifact.

    Raises IncompatibleError when it was set with another geometry than `geometry`.
    """
    try:
        sidecar = load_sidecar(artifact)
    except IncompatibleError as error:
        _log.warning("ignoring the stored threshold: %s", error)
        return None
    if sidecar is None or sidecar.threshold is None:
        return None
    check_geometry(artifact, sidecar.threshold, geometry, trained)
    return sidecar.threshold.image


def build_report(
    scored: Sequence[ScoredImage],
    left_out: dict[str, str],
    threshold: float | None = None,
    *,
    origin: str = STORED,
    parts: PartAssignment | None = None,
    pooled: PooledPixels | None = None,
) -> dict[str, Any]:
    """Return metrics overall and by defect type, misses at a threshold, and images left out.

    With `parts`, every metric has an interval by part; an image without a part is one.

    Without a threshold, the one with the best F1 on these images counts the misses; `origin` names
    the source of a given threshold.
    """
    result = compute_metrics(scored, pooled)
    if parts is not None:
        result |= _with_intervals(result, scored, parts)
    threshold, origin = (_fitted(scored), FITTED) if threshold is None else (threshold, origin)
    if threshold is not None:
        misses = count_misses(scored, threshold)
        result["at_threshold"] = {"image": threshold, "from": origin, **misses}
        for kind in defect_types(scored):
            of_type = [item for item in scored if item.sample.kind == kind]
            result["by_type"][kind]["escapes"] = count_misses(of_type, threshold)["escapes"]
    unmasked = {item.sample.kind for item in scored if item.mask is None}
    return result | {
        "left_out": left_out,
        "types_without_masks": sorted(unmasked),
        "hidden_defects": [str(item.sample.path) for item in scored if item.hidden],
        "aupro_limit": FPR_LIMIT,
    }


def write_report(
    folder: Path,
    result: dict[str, Any],
    scored: Sequence[ScoredImage],
    geometry: Geometry,
    pooled: PooledPixels | None = None,
) -> None:
    """Write report.json with the curves' points, curves.png and misses.png."""
    from edge_ad.evaluation.miss_sheet import write_misses
    from edge_ad.evaluation.plots import write_curves

    curves = pixel_curves((pooled or PooledPixels(scored)).overall)
    points = {name: {"x": c.x.tolist(), "y": c.y.tolist()} for name, c in curves.items()}
    scores = {str(item.sample.path): item.score for item in scored}
    full = result | {"curves": points, "scores": scores}
    threshold = result.get("at_threshold", {}).get("image")
    write_text(folder / "report.json", json.dumps(full, indent=1, allow_nan=False) + "\n")
    write_curves(scored, curves, threshold, folder / "curves.png")
    write_misses(scored, threshold, geometry, folder / "misses.png")


def _with_intervals(
    result: dict[str, Any], scored: Sequence[ScoredImage], parts: PartAssignment
) -> dict[str, Any]:
    """Add the intervals to the figures; return what they rest on."""
    from edge_ad.evaluation.intervals import DRAWS, LEVEL, add_intervals

    paths = [item.sample.path for item in scored]
    names = [parts.parts.get(path, str(path)) for path in paths]
    add_intervals(result, scored, names)
    of = {side: {name for name, item in zip(names, scored, strict=True)
                 if item.sample.anomalous == anomalous}
          for side, anomalous in (("normal", False), ("anomalous", True))}  # fmt: skip
    return {
        "intervals_by": {
            "decided_by": parts.how.value,
            "detail": parts.detail,
            "parts": len(set(names)),
            "normal_parts": len(of["normal"]),
            "anomalous_parts": len(of["anomalous"]),
            "level": LEVEL,
            "draws": DRAWS,
        }
    }


def _fitted(scored: Sequence[ScoredImage]) -> float | None:
    scores, labels = [item.score for item in scored], [item.sample.anomalous for item in scored]
    return best_threshold(scores, labels)
