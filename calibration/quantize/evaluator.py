"""Candidates put to the exam, each once: what was measured is kept, also across a restart."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_ad.calibration.quantize.eval_set import EvalSet, Predictions, predict
from edge_ad.calibration.quantize.gate import AccuracyFigures, figures, map_error
from edge_ad.calibration.quantize.graph_engine import GraphEngine
from edge_ad.calibration.quantize.placement import Placement, PlacementOverrides, place
from edge_ad.calibration.quantize.qdq import Range, quantize
from edge_ad.calibration.ranges.table import RangeTable
from edge_ad.files import write_text
from edge_ad.onnx_graph.index import GraphIndex
from edge_ad.precision import Precision

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """An int8 graph not yet built: which ranges, which blocks stay float, and in which precision
    what is not int8 is computed."""

    method: str
    float_blocks: frozenset[str] = frozenset()
    rest: Precision = "fp32"

    def __str__(self) -> str:
        return f"{self.method} without {sorted(self.float_blocks)}, rest {self.rest}"


class ResultCache:
    """Results by key in a JSON file, so that a stopped search goes on where it was.

    `identity` names all that the results depend on; a file of another identity is ignored.
    """

    def __init__(self, path: Path | None, identity: str, *, resume: bool) -> None:
        self._path, self._identity = path, identity
        self._known: dict[str, Any] = self._read() if resume else {}

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        """The result under `key`; measured and written down when it is not there."""
        if key not in self._known:
            self._known[key] = measure()
            self._write()
        return self._known[key]

    def knows(self, key: str) -> bool:
        return key in self._known

    def drop(self) -> None:
        """The work is done; nothing needs to be resumed."""
        if self._path:
            self._path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict) or content.get("identity") != self._identity:
            _log.warning("%s: of another model, set or target; starting anew", self._path)
            return {}
        return dict(content["results"])

    def _write(self) -> None:
        if self._path:
            content = {"identity": self._identity, "results": self._known}
            write_text(self._path, json.dumps(content, indent=1) + "\n")


class CandidateEvaluator:
    """Builds candidates in memory and measures them against fp32."""

    def __init__(
        self,
        graph: GraphIndex,
        table: RangeTable,
        exam: EvalSet,
        wanted: PlacementOverrides,
        notebook: ResultCache,
        *,
        half: onnx.ModelProto | None = None,
        threads: int = 0,
    ) -> None:
        self.graph, self.table, self.exam, self.half = graph, table, exam, half
        self.wanted = replace(wanted, silent=frozenset(table.silent))
        self._notebook, self._threads = notebook, threads

    @cached_property
    def reference(self) -> Predictions:
        """fp32's answers to the whole exam."""
        return self._answers(None, len(self.exam.questions))

    @cached_property
    def fp32(self) -> AccuracyFigures:
        return figures(self.exam, self.reference, self.reference)

    def placement(self, candidate: Candidate) -> Placement:
        wanted = replace(self.wanted, float_blocks=candidate.float_blocks)
        return place(self.graph, self.table.target, wanted)

    def model(self, candidate: Candidate) -> onnx.ModelProto:
        """The candidate's graph with its Q/DQ pairs."""
        onto = self.half if candidate.rest == "fp16" else None
        return quantize(self.graph, self.placement(candidate), self.ranges(candidate), onto)

    def ranges(self, candidate: Candidate) -> dict[str, Range]:
        """What the candidate's tensors tell apart."""
        placement = self.placement(candidate)
        found = shared_ranges(placement, self.table, candidate.method)
        return {tensor: found[tensor] for tensor in placement.tensors}

    def figures(self, candidate: Candidate) -> AccuracyFigures:
        """The candidate on the whole exam."""
        return AccuracyFigures(**self._measured(candidate)["figures"])

    def scores(self, candidate: Candidate) -> NDArray[np.float32]:
        """The exam's image scores by the candidate."""
        return np.array(self._measured(candidate)["scores"], np.float32)

    def threshold(self, candidate: Candidate | None, measure: Callable[[], Any]) -> Any:
        """What `measure` answers for the candidate (None: fp32), kept like all results."""
        return self._notebook.get(f"threshold {candidate or 'fp32'}", measure)

    def engine(self, candidate: Candidate | None) -> GraphEngine:
        """The candidate, or fp32, as an engine in memory."""
        model = self.graph.model if candidate is None else self.model(candidate)
        return GraphEngine(model, self.graph.manifest, self.table.target, threads=self._threads)

    def error(self, candidate: Candidate, images: int) -> float:
        """Map error on the first images: a quick measure that ranks blocks."""
        key = f"error on {images} {candidate}"
        return float(self._notebook.get(key, lambda: self._error(candidate, images)))

    def _measured(self, candidate: Candidate) -> dict[str, Any]:
        return dict(self._notebook.get(f"exam {candidate}", lambda: self._measure(candidate)))

    def _measure(self, candidate: Candidate) -> dict[str, Any]:
        found = self._answers(candidate, len(self.exam.questions))
        measured = figures(self.exam, self.reference, found)
        return {"figures": measured.as_json(), "scores": found.scores.tolist()}

    def _error(self, candidate: Candidate, images: int) -> float:
        some = every_nth(len(self.exam.questions), images)
        found = self._answers(candidate, images)
        return map_error([self.reference.maps[i] for i in some], found.maps)

    def _answers(self, candidate: Candidate | None, images: int) -> Predictions:
        questions = self.exam.questions
        some = [questions[i] for i in every_nth(len(questions), images)]
        with self.engine(candidate) as engine:
            return predict(engine, some)


def every_nth(count: int, wanted: int) -> Sequence[int]:
    """`wanted` places spread over `count`."""
    kept = min(count, wanted)
    return [i * count // kept for i in range(kept)]


def shared_ranges(placement: Placement, table: RangeTable, method: str) -> dict[str, Range]:
    """The table's ranges by one method, made equal across each group that shares a scale."""
    ranges = table.ranges(method)
    for group in placement.groups:
        known = [ranges[tensor] for tensor in group if tensor in ranges]
        if not known:
            continue
        widest = Range(min(r.low for r in known), max(r.high for r in known))
        ranges.update(dict.fromkeys(group, widest))
    return ranges


def identity(parts: Iterable[object]) -> str:
    """A digest of all that results depend on."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()
