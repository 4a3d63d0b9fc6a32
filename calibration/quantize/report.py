"""The JSON report beside an int8 engine: everything that a calibration measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onnx import ModelProto

from edge_ad.calibration.quantize.comparison import time_models
from edge_ad.calibration.quantize.compiled_layers import compiled_report
from edge_ad.calibration.quantize.config import CalibrationConfig
from edge_ad.calibration.quantize.eval_set import EvalSet
from edge_ad.calibration.quantize.gate import GateLimits, GateResult
from edge_ad.calibration.quantize.pipeline import CalibrationResult
from edge_ad.calibration.quantize.search import CandidateResult, SearchResult
from edge_ad.files import write_text
from edge_ad.precision import Precision
from edge_ad.provenance import versions


def make_report(
    config: CalibrationConfig, staged: CalibrationConfig, result: CalibrationResult
) -> dict[str, Any]:
    """Return everything a reader needs to trust the engine, or to see why there is none.

    The engine's file still lies where `staged` says.
    """
    evaluator, candidate, search = result.evaluator, result.candidate, result.search
    placement = evaluator.placement(candidate)
    compiled = result.written and config.target == "tensorrt"
    return {
        "type": "calibrate",
        "passed": result.passed,
        "fp32": str(config.engine),
        "engine": str(config.out) if result.written else None,
        "precision_comparison": result.comparison.as_json() if result.comparison else None,
        "target": config.target,
        "method": candidate.method,
        "ranges": str(config.table_path),
        "report": str(config.report_path.with_suffix(".html")),
        "calibration_images": evaluator.table.images,
        "gate": _gate(result, search, config.limits) if search else None,
        "float_precision": candidate.float_precision,
        "float_blocks": sorted(candidate.float_blocks),
        "threshold": result.threshold.to_dict() if result.threshold else None,
        "clipped": most_clipped(result),
        "dataset_report": result.dataset_report,
        "left_out": (result.dataset_report or {}).get("left_out", {}),
        "nodes": [asdict(decision) for decision in placement.decisions],
        "int8_nodes": sum(decision.int8 for decision in placement.decisions),
        "bytes": {"fp32": config.engine.stat().st_size, "int8": _size(staged)},
        "speed": measure_speed(result),
        "compiled": compiled_report(staged.out, placement) if compiled else None,
        "made_with": versions(),
    }


def save_report(report: dict[str, Any], config: CalibrationConfig) -> Path:
    """Write the JSON in one step and return its path."""
    write_text(config.report_path, json.dumps(report, indent=2, allow_nan=False) + "\n")
    return config.report_path


def most_clipped(result: CalibrationResult) -> list[dict[str, Any]]:
    """Return the ten tensors that the chosen method clips most, relative to their largest value."""
    method = result.candidate.method
    tensors = result.evaluator.table.tensors
    clipped = [name for name, tensor in tensors.items() if tensor.amax[method] < tensor.largest]
    clipped.sort(key=lambda name: tensors[name].amax[method] / tensors[name].largest)
    return [
        {"tensor": name, "amax": tensors[name].amax[method], "largest": tensors[name].largest}
        for name in clipped[:10]
    ]


def measure_speed(result: CalibrationResult) -> dict[str, Any] | None:
    """Time fp32 and int8 on this machine's CPU; return None for TensorRT."""
    evaluator = result.evaluator
    if evaluator.table.target != "onnxruntime":
        return None
    models: dict[Precision, ModelProto] = {
        "fp32": evaluator.fp32_model,
        "int8": evaluator.model(result.candidate),
    }
    times = time_models(evaluator, models)
    return {
        "fp32_ms": times["fp32"],
        "int8_ms": times["int8"],
        "speedup": times["fp32"] / times["int8"],
    }


def _gate(result: CalibrationResult, search: SearchResult, limits: GateLimits) -> dict[str, Any]:
    eval_set, best = result.evaluator.eval_set, search.best.gate
    return {
        "eval_set": eval_set.kind,
        "normal": int((~eval_set.anomalous).sum()),
        "anomalous": int(eval_set.anomalous.sum()),
        "limits": asdict(limits),
        "fp32": result.evaluator.fp32.as_json(),
        "int8": best.figures.as_json(),
        "passed": best.passed,
        "losses": best.losses,
        "failures": list(best.failures),
        "alarms": asdict(best.alarms) if best.alarms else None,
        "not_checked": _not_checked(best, eval_set, limits),
        "data_set": dict(eval_set.data_set) if eval_set.data_set else None,
        "left_out": dict(eval_set.left_out),
        "methods": [_candidate(item) for item in search.methods],
        "sensitivity": _sensitivity(search),
        "steps": [_candidate(item) for item in search.steps],
    }


def _not_checked(best: GateResult, eval_set: EvalSet, limits: GateLimits) -> list[str]:
    """Name what the gate did not check, and why."""
    lines = []
    anomalous = [sample for sample in eval_set.samples if sample.anomalous]
    unmasked = sum(sample.mask is None for sample in anomalous)
    if limits.pixel_ap is None:
        lines.append("pixel AP: its limit was waived")
    elif unmasked:
        lines.append(f"pixel AP on {unmasked} of {len(anomalous)} anomalous images: no masks")
    if best.alarms is None and not best.passed:
        lines.append("false alarms: other figures fail already")
    elif best.alarms is None:
        lines.append(
            "false alarms: they need images of normal parts (--images) that were not trained on"
        )
    return lines


def _candidate(item: CandidateResult) -> dict[str, Any]:
    return {
        "method": item.candidate.method,
        "float_precision": item.candidate.float_precision,
        "float_blocks": sorted(item.candidate.float_blocks),
        **item.gate.as_json(),
    }


def _sensitivity(search: SearchResult) -> dict[str, Any] | None:
    if not search.blocks:
        return None
    return {"all_int8": search.all_int8, "blocks": [asdict(block) for block in search.blocks]}


def _size(config: CalibrationConfig) -> int | None:
    return config.out.stat().st_size if config.out.exists() else None
