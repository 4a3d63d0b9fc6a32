"""fp32, fp16 and int8 side by side on this machine: the fastest that passes the gate.

"int8 is not worth it here" is a good answer: a precision must be faster by a margin than the
simpler ones, or the simpler one stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx

from edge_ad import bench
from edge_ad.calibration.quantize.eval_set import predict
from edge_ad.calibration.quantize.evaluator import CandidateEvaluator
from edge_ad.calibration.quantize.gate import (
    AccuracyFigures,
    GateLimits,
    GateResult,
    figures,
    judge,
)
from edge_ad.calibration.quantize.graph_engine import GraphEngine
from edge_ad.precision import PRECISIONS, Precision

_RUNS = 10  # runs a side; the median of so few is steady within a few percent on an idle machine


@dataclass(frozen=True)
class ComparedPrecision:
    """One precision: its time an image, its figures on the exam, and what the gate says."""

    precision: Precision
    ms: float
    figures: AccuracyFigures
    verdict: GateResult

    def as_json(self) -> dict[str, Any]:
        return {
            "precision": self.precision,
            "ms": self.ms,
            **asdict(self.figures),
            **self.verdict.as_json(),
        }


@dataclass(frozen=True)
class PrecisionComparison:
    """All contenders, simplest first, and the one to deploy."""

    contenders: tuple[ComparedPrecision, ...]
    winner: ComparedPrecision

    def as_json(self) -> dict[str, Any]:
        return {
            "winner": self.winner.precision,
            "times_faster_than_fp32": self.contenders[0].ms / self.winner.ms,
            "contenders": [one.as_json() for one in self.contenders],
        }

    def __str__(self) -> str:
        times = ", ".join(f"{one.precision} {one.ms:.1f} ms" for one in self.contenders)
        failed = [one.precision for one in self.contenders if not one.verdict.passed]
        told = f"{self.winner.precision} it is: {times} an image"
        return told + (f"; {', '.join(failed)} did not pass the gate" if failed else "")


def compare_precisions(
    trials: CandidateEvaluator,
    models: Mapping[Precision, onnx.ModelProto],
    known: Mapping[Precision, GateResult],
    limits: GateLimits,
    *,
    margin: float,
) -> PrecisionComparison:
    """Examine and time every model; `known` verdicts are taken as they are.

    `margin` 0.05 asks a precision to be 5 % faster than the best simpler one.
    """
    times = timed(trials, models)
    found = []
    for precision in PRECISIONS:
        if precision in models:
            measured = _figures(trials, models[precision])
            verdict = known.get(precision) or judge(trials.fp32, measured, limits)
            found.append(ComparedPrecision(precision, times[precision], measured, verdict))
    return PrecisionComparison(tuple(found), fastest(found, margin))


def fastest(contenders: Sequence[ComparedPrecision], margin: float) -> ComparedPrecision:
    """The simplest contender that no other passing one beats by more than the margin."""
    times = {one.precision: one.ms for one in contenders if one.verdict.passed}
    times["fp32"] = contenders[0].ms
    winner = bench.fastest(times, margin)
    return next(one for one in contenders if one.precision == winner)


def timed(
    trials: CandidateEvaluator, models: Mapping[Precision, onnx.ModelProto]
) -> dict[Precision, float]:
    """Median milliseconds an image, the models in turn, so that they share every disturbance."""
    manifest, target = trials.graph.manifest, trials.table.target
    engines = {name: GraphEngine(model, manifest, target) for name, model in models.items()}
    batch = np.zeros((manifest.batch or 1, *manifest.size_hw, 3), np.uint8)
    return bench.time_in_turn(engines, batch, _RUNS)


def _figures(trials: CandidateEvaluator, model: onnx.ModelProto) -> AccuracyFigures:
    manifest, target = trials.graph.manifest, trials.table.target
    with GraphEngine(model, manifest, target) as engine:
        return figures(trials.exam, trials.reference, predict(engine, trials.exam.questions))
