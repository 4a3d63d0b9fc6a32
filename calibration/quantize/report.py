"""What a calibration measured, as the JSON that lies beside its engine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_ad.calibration.quantize.comparison import timed
from edge_ad.calibration.quantize.compiled_layers import compiled
from edge_ad.calibration.quantize.config import CalibrationConfig
from edge_ad.calibration.quantize.gate import GateLimits
from edge_ad.calibration.quantize.pipeline import CalibrationResult
from edge_ad.calibration.quantize.search import RangeComparison, SearchResult
from edge_ad.files import write_text
from edge_ad.provenance import versions


def report_of(order: CalibrationConfig, outcome: CalibrationResult) -> dict[str, Any]:
    """Everything a reader needs to trust the engine, or to see why there is none."""
    trials, candidate = outcome.trials, outcome.candidate
    placement = trials.placement(candidate)
    return {
        "type": "calibrate",
        "passed": outcome.passed,
        "fp32": str(order.engine),
        "engine": str(order.out) if outcome.written else None,
        "contest": outcome.contest.as_json() if outcome.contest else None,
        "target": order.target,
        "method": candidate.method,
        "ranges": str(order.table_path),
        "frames_seen": trials.table.frames_seen,
        "gate": _gate(outcome, order.limits) if outcome.found else None,
        "rest": candidate.rest,
        "float_blocks": sorted(candidate.float_blocks),
        "threshold": outcome.threshold.model_dump(mode="json") if outcome.threshold else None,
        "clipped": clipped(outcome),
        "set": outcome.dataset_report,
        "nodes": [asdict(decision) for decision in placement.decisions],
        "int8_nodes": sum(decision.int8 for decision in placement.decisions),
        "bytes": {"fp32": order.engine.stat().st_size, "int8": _size(order)},
        "speed": speed(outcome),
        "compiled": compiled(order.out, placement)
        if outcome.written and order.target == "tensorrt"
        else None,
        "made_with": versions(),
    }


def save_report(report: dict[str, Any], order: CalibrationConfig) -> Path:
    """Write the JSON in one step and answer its path."""
    write_text(order.report_path, json.dumps(report, indent=2, allow_nan=False) + "\n")
    return order.report_path


def clipped(outcome: CalibrationResult, most: int = 10) -> list[dict[str, Any]]:
    """The tensors of which the chosen method cuts off most, by share of their largest value."""
    method = outcome.candidate.method
    cut = [
        {"tensor": name, "kept": found.amax[method], "seen": found.amax["minmax"]}
        for name, found in outcome.trials.table.tensors.items()
        if found.amax[method] < found.amax["minmax"]
    ]
    return sorted(cut, key=lambda one: float(str(one["kept"])) / float(str(one["seen"])))[:most]


def speed(outcome: CalibrationResult) -> dict[str, Any] | None:
    """Milliseconds an image on this machine's CPU, fp32 and int8 in turn; None for TensorRT."""
    trials = outcome.trials
    if trials.table.target != "onnxruntime":
        return None
    times = timed(trials, {"fp32": trials.graph.model, "int8": trials.model(outcome.candidate)})
    return {
        "fp32_ms": times["fp32"],
        "int8_ms": times["int8"],
        "times_faster": times["fp32"] / times["int8"],
    }


def _gate(outcome: CalibrationResult, limits: GateLimits) -> dict[str, Any]:
    found, exam = outcome.found, outcome.trials.exam
    assert found is not None
    return {
        "on": exam.kind,
        "normal": int((~exam.anomalous).sum()),
        "anomalous": int(exam.anomalous.sum()),
        "limits": asdict(limits),
        "fp32": outcome.trials.fp32.as_json(),
        "int8": found.best.figures.as_json(),
        **found.best.verdict.as_json(),
        "alarms": asdict(found.best.alarms) if found.best.alarms else None,
        "methods": [_compared(one) for one in found.methods],
        "blocks": _blocks(found),
        "steps": [_compared(one) for one in found.steps],
    }


def _compared(one: RangeComparison) -> dict[str, Any]:
    return {
        "method": one.candidate.method,
        "rest": one.candidate.rest,
        "float_blocks": sorted(one.candidate.float_blocks),
        **one.figures.as_json(),
        **one.verdict.as_json(),
    }


def _blocks(found: SearchResult) -> dict[str, Any] | None:
    if not found.blocks:
        return None
    return {
        "everything_int8": found.everything,
        "blocks": [asdict(block) for block in found.blocks],
    }


def _size(order: CalibrationConfig) -> int | None:
    return order.out.stat().st_size if order.out.exists() else None
