"""Write all files of a calibration together, or none of them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from edge_ad.calibration.quantize.config import CalibrationConfig, OnProgress
from edge_ad.calibration.quantize.evaluator import Candidate, CandidateEvaluator
from edge_ad.calibration.quantize.html import write_page
from edge_ad.calibration.quantize.pipeline import CalibrationResult
from edge_ad.calibration.quantize.report import make_report, save_report
from edge_ad.calibration.ranges.table import RangeTable, save_table
from edge_ad.calibration.ranges.trt_cache import save_cache
from edge_ad.engine import open_engine
from edge_ad.files import replace_together, replacing
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.load import set_manifest
from edge_ad.provenance import stamp
from edge_ad.sidecar import set_threshold, sidecar_path


def write_calibration(
    config: CalibrationConfig, result: CalibrationResult, on_progress: OnProgress
) -> dict[str, Any]:
    """Write engine, threshold, ranges, cache and report, and return the report.

    They are written and checked in a folder beside their place first, so an error leaves what was
    there before. A result without an engine gets a table and a report; where an engine of an
    earlier calibration has those names, they are called `rejected`.
    """
    final = config if result.written or not config.out.exists() else config.rejected
    final.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=final.out.parent, prefix=f".{final.out.stem}-", ignore_cleanup_errors=True
    ) as folder:
        staged = replace(final, out=Path(folder) / final.out.name)
        save_table(result.evaluator.table, staged.table_path)
        files = {staged.table_path: final.table_path}
        if result.written:
            files |= _write_engine(final, staged, result, on_progress)
        on_progress("measuring speed", 0, 1)
        report = make_report(final, staged, result)
        path = save_report(report, staged)
        write_page(report, result, path.with_suffix(".html"))
        files |= {path: final.report_path}
        files |= {path.with_suffix(".html"): final.report_path.with_suffix(".html")}
        replace_together(files)
    return report


def _write_engine(
    final: CalibrationConfig,
    staged: CalibrationConfig,
    result: CalibrationResult,
    on_progress: OnProgress,
) -> dict[Path, Path]:
    """Write the engine with its threshold and the cache; return where each file belongs."""
    on_progress("writing", 0, 1)
    _save_int8(result.evaluator, result.candidate, staged.out)
    files = {staged.out: final.out}
    if result.threshold:
        files[set_threshold(staged.out, result.threshold)] = sidecar_path(final.out)
    if final.write_cache:
        ranges = result.evaluator.ranges(result.candidate)
        cache = staged.out.with_suffix(".cache")
        save_cache(ranges, cache, final.cache_version)
        files[cache] = final.write_cache
    return files


def _save_int8(evaluator: CandidateEvaluator, candidate: Candidate, out: Path) -> None:
    """Write the candidate's engine file in one step, once it opens as an engine."""
    model = evaluator.model(candidate)
    manifest = _int8_manifest(
        evaluator.graph.manifest, evaluator.graph.sha256, evaluator.table, candidate
    )
    set_manifest(model, manifest)
    onnx.checker.check_model(model, full_check=True)
    with replacing(out) as temporary:
        onnx.save(model, temporary)
        open_engine(temporary).close()


def _int8_manifest(
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
