"""Evaluate int8 candidates against fp32; every result is cached, also across a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_ad.calibration.quantize.eval_set import EvalSet, Predictions, evenly, predict
from edge_ad.calibration.quantize.gate import UNKNOWN, AccuracyFigures, figures, map_error
from edge_ad.calibration.quantize.placement import Placement, place
from edge_ad.calibration.quantize.qdq import quantize
from edge_ad.calibration.quantize.result_cache import ResultCache
from edge_ad.calibration.quantize.rules import PlacementOverrides
from edge_ad.calibration.ranges.graph_engine import GraphEngine
from edge_ad.calibration.ranges.table import RangeTable
from edge_ad.calibration.ranges.target import Range
from edge_ad.errors import InvalidOutput
from edge_ad.onnx_graph.index import GraphIndex
from edge_ad.precision import Precision

_INVALID_ERROR = 1e6  # larger than any that can be measured; finite, so that blocks can be ranked


@dataclass(frozen=True)
class Candidate:
    """A possible int8 graph: by which method it gets its ranges, and what is left in float.

    `float_precision` is the precision of everything that is not int8.
    """

    method: str
    float_blocks: frozenset[str] = frozenset()
    float_precision: Precision = "fp32"

    def __str__(self) -> str:
        return f"{self.method} without {sorted(self.float_blocks)} in {self.float_precision}"


class CandidateEvaluator:
    """Build candidates in memory and measure them against fp32.

    `graph` is the one to quantize, `fp32_model` the model as exported if that is another.
    """

    def __init__(
        self,
        graph: GraphIndex,
        table: RangeTable,
        eval_set: EvalSet,
        overrides: PlacementOverrides,
        cache: ResultCache,
        *,
        fp32_model: onnx.ModelProto | None = None,
        fp16_model: onnx.ModelProto | None = None,
        threads: int = 0,
    ) -> None:
        self.graph, self.table, self.eval_set = graph, table, eval_set
        self.fp32_model, self.fp16_model = fp32_model or graph.model, fp16_model
        self._overrides = replace(overrides, all_zero=frozenset(table.all_zero))
        self._cache, self._threads = cache, threads

    @cached_property
    def reference(self) -> Predictions:
        """Return fp32's predictions for the whole evaluation set."""
        return self._predictions(None, len(self.eval_set.samples))

    @cached_property
    def fp32(self) -> AccuracyFigures:
        """Return fp32's figures."""
        return figures(self.eval_set, self.reference, self.reference)

    def placement(self, candidate: Candidate) -> Placement:
        """Return the candidate's Q/DQ placement."""
        overrides = replace(self._overrides, float_blocks=candidate.float_blocks)
        return place(self.graph, self.table.target, overrides)

    def model(self, candidate: Candidate) -> onnx.ModelProto:
        """Return the candidate's graph with its Q/DQ pairs."""
        base = self.fp16_model if candidate.float_precision == "fp16" else None
        return quantize(self.graph, self.placement(candidate), self.ranges(candidate), base)

    def ranges(self, candidate: Candidate) -> dict[str, Range]:
        """Return the range of every tensor that the candidate quantizes."""
        placement = self.placement(candidate)
        ranges = shared_ranges(placement, self.table, candidate.method)
        return {tensor: ranges[tensor] for tensor in placement.tensors}

    def figures(self, candidate: Candidate) -> AccuracyFigures:
        """Return the candidate's figures on the whole evaluation set."""
        return AccuracyFigures.from_json(self._measured(candidate)["figures"])

    def scores(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return the candidate's image scores on the evaluation set."""
        return np.array(self._measured(candidate)["scores"], np.float32)

    def threshold(
        self, candidate: Candidate | None, origin: str, measure: Callable[[], Any]
    ) -> Any:
        """Return what `measure` returns for the candidate (None: fp32), cached like all results.

        `origin` covers what it depends on beside the candidate.
        """
        return self._cache.get(f"threshold {candidate or 'fp32'} from {origin}", measure)

    def engine(self, candidate: Candidate | None) -> GraphEngine:
        """Return the candidate, or fp32, as an engine in memory."""
        model = self.fp32_model if candidate is None else self.model(candidate)
        return GraphEngine(model, self.graph.manifest, self.table.target, threads=self._threads)

    def error(self, candidate: Candidate, images: int) -> float:
        """Return the map error on a few images: a quick measure that ranks blocks.

        It is _INVALID_ERROR for an output with NaN or Inf.
        """
        key = f"error on {images} {candidate}"
        return float(self._cache.get(key, lambda: self._error(candidate, images)))

    def _measured(self, candidate: Candidate) -> dict[str, Any]:
        return dict(self._cache.get(f"figures {candidate}", lambda: self._measure(candidate)))

    def _measure(self, candidate: Candidate) -> dict[str, Any]:
        reference = self.reference
        try:
            predictions = self._predictions(candidate, len(self.eval_set.samples))
        except InvalidOutput:
            return {"figures": UNKNOWN.as_json(), "scores": []}
        measured = figures(self.eval_set, reference, predictions)
        return {"figures": measured.as_json(), "scores": predictions.scores.tolist()}

    def _error(self, candidate: Candidate, images: int) -> float:
        try:
            predictions = self._predictions(candidate, images)
        except InvalidOutput:
            return _INVALID_ERROR
        return map_error(evenly(self.reference.maps, images), predictions.maps)

    def _predictions(self, candidate: Candidate | None, images: int) -> Predictions:
        with self.engine(candidate) as engine:
            return predict(engine, evenly(self.eval_set.samples, images))


def shared_ranges(placement: Placement, table: RangeTable, method: str) -> dict[str, Range]:
    """Return the table's ranges by one method, made equal across each group that shares a scale."""
    ranges = table.ranges(method)
    for group in placement.groups:
        known = [ranges[tensor] for tensor in group if tensor in ranges]
        if not known:
            continue
        widest = Range(min(r.low for r in known), max(r.high for r in known))
        ranges.update(dict.fromkeys(group, widest))
    return ranges
