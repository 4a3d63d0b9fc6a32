"""Compare fp32, fp16 and int8 on this machine and choose the fastest that passes the gate.

A precision must be faster by a margin than the simpler ones, or the simpler one stays: int8 is not
always worth it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edge_ad.bench import engine_calls
from edge_ad.calibration.quantize.eval_set import predict
from edge_ad.calibration.quantize.evaluator import CandidateEvaluator
from edge_ad.calibration.quantize.gate import (
    UNKNOWN,
    AccuracyFigures,
    GateLimits,
    GateResult,
    apply_gate,
    figures,
)
from edge_ad.calibration.ranges.graph_engine import GraphEngine
from edge_ad.errors import InvalidOutput
from edge_ad.precision import PRECISIONS, Precision

_RUNS = 10  # runs per precision; their median is steady within a few percent on an idle machine


@dataclass(frozen=True)
class ComparedPrecision:
    """One precision with its milliseconds per image and the gate's result."""

    precision: Precision
    ms: float
    gate: GateResult

    def as_json(self) -> dict[str, Any]:
        """Return the precision with JSON keys."""
        return {"precision": self.precision, "ms": self.ms, **self.gate.as_json()}


@dataclass(frozen=True)
class PrecisionComparison:
    """All precisions, simplest first, and the one to deploy."""

    precisions: tuple[ComparedPrecision, ...]
    winner: ComparedPrecision

    def as_json(self) -> dict[str, Any]:
        """Return the comparison with JSON keys."""
        return {
            "winner": self.winner.precision,
            "speedup": self.precisions[0].ms / self.winner.ms,
            "precisions": [compared.as_json() for compared in self.precisions],
        }


def compare_precisions(
    evaluator: CandidateEvaluator,
    models: Mapping[Precision, onnx.ModelProto],
    known: Mapping[Precision, GateResult],
    limits: GateLimits,
    *,
    margin: float,
) -> PrecisionComparison:
    """Time every model, and evaluate those whose gate result is not `known`.

    With `margin` 0.05 a precision must be 5 % faster than the best simpler one.
    """
    times = time_models(evaluator, models)
    compared = []
    for precision in PRECISIONS:
        if precision in models:
            gate = known.get(precision) or apply_gate(
                evaluator.fp32, _figures(evaluator, models[precision]), limits
            )
            compared.append(ComparedPrecision(precision, times[precision], gate))
    return PrecisionComparison(tuple(compared), fastest(compared, margin))


def fastest(compared: Sequence[ComparedPrecision], margin: float) -> ComparedPrecision:
    """Return the simplest precision that no other passing one beats by more than the margin."""
    times = {item.precision: item.ms for item in compared if item.gate.passed}
    times["fp32"] = compared[0].ms
    winner = engine_calls.fastest(times, margin)
    return next(item for item in compared if item.precision == winner)


def time_models(
    evaluator: CandidateEvaluator, models: Mapping[Precision, onnx.ModelProto]
) -> dict[Precision, float]:
    """Return median milliseconds per image; models take turns, so they share every disturbance."""
    manifest, target = evaluator.graph.manifest, evaluator.table.target
    engines = {name: GraphEngine(model, manifest, target) for name, model in models.items()}
    batch = np.zeros((manifest.batch or 1, *manifest.size_hw, 3), np.uint8)
    return engine_calls.time_in_turn(engines, batch, _RUNS)


def _figures(evaluator: CandidateEvaluator, model: onnx.ModelProto) -> AccuracyFigures:
    eval_set = evaluator.eval_set
    with GraphEngine(model, evaluator.graph.manifest, evaluator.table.target) as engine:
        try:
            predictions = predict(engine, eval_set.samples)
        except InvalidOutput:
            return UNKNOWN
    return figures(eval_set, evaluator.reference, predictions)
