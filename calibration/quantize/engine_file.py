"""Write an int8 engine file: Q/DQ graph, manifest, and a check that it opens as an engine."""

from __future__ import annotations

from pathlib import Path

import onnx

from edge_ad.calibration.quantize.evaluator import Candidate, CandidateEvaluator
from edge_ad.calibration.ranges.table import RangeTable
from edge_ad.engine import open_engine
from edge_ad.files import replacing
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.load import set_manifest
from edge_ad.provenance import stamp


def save_int8(evaluator: CandidateEvaluator, candidate: Candidate, out: Path) -> Manifest:
    """Write the candidate's engine file in one step, once it opens as an engine."""
    model = evaluator.model(candidate)
    manifest = int8_manifest(
        evaluator.graph.manifest, evaluator.graph.sha256, evaluator.table, candidate
    )
    set_manifest(model, manifest)
    onnx.checker.check_model(model, full_check=True)
    with replacing(out) as temporary:
        onnx.save(model, temporary)
        open_engine(temporary).close()
    return manifest


def int8_manifest(
    fp32: Manifest, parent_sha256: str, table: RangeTable, candidate: Candidate
) -> Manifest:
    """Return the fp32 engine's manifest for int8, with the origin of the ranges in its notes."""
    notes = {
        "int8 target": table.target,
        "calibration method": candidate.method,
        "calibration set sha256": ", ".join(image_set.sha256 for image_set in table.sets),
        "calibration images": str(table.images),
    }
    if candidate.float_precision != "fp32":
        notes["float precision"] = candidate.float_precision
    if candidate.float_blocks:
        notes["float blocks"] = ", ".join(sorted(candidate.float_blocks))
    provenance = stamp(fp32.provenance, parent_sha256=parent_sha256, notes=notes)
    return fp32.replace(precision="int8", provenance=provenance)
