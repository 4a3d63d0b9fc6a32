"""Search for the range method and the float blocks: the cheapest int8 graph that passes the gate.

First the methods are compared. If none passes, every block's part in the error is measured twice
(it alone in int8; all but it), and the worst return to float, as few as the gate demands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from edge_ad.calibration.quantize.config import OnProgress, no_progress
from edge_ad.calibration.quantize.evaluator import Candidate, CandidateEvaluator
from edge_ad.calibration.quantize.gate import (
    AlarmComparison,
    GateLimits,
    GateResult,
    apply_gate,
    excess,
)
from edge_ad.wording import counted


@dataclass(frozen=True)
class CandidateResult:
    """One candidate and the gate's result for it."""

    candidate: Candidate
    gate: GateResult


Evaluate: TypeAlias = Callable[[Candidate], CandidateResult]  # with or without false alarms


@dataclass(frozen=True)
class BlockSensitivity:
    """A block's part in the map error: `alone` with it alone in int8, `without` all but it.

    `cost` is its share of the multiplications: the int8 speed that is lost when it stays float.
    """

    block: str
    alone: float
    without: float
    cost: float


@dataclass(frozen=True)
class SearchResult:
    """The best candidate, and everything that led to it.

    `all_int8` is the map error with every block in int8.
    """

    best: CandidateResult
    methods: tuple[CandidateResult, ...]
    blocks: tuple[BlockSensitivity, ...] = ()
    all_int8: float = 0.0
    steps: tuple[CandidateResult, ...] = ()


@dataclass(frozen=True)
class PlacementSearch:
    """Search for the best candidate.

    `costs` are the blocks' shares of the multiplications, `max_float` the share that may return to
    float; `images` are used to rank the blocks. `alarms` compares a candidate's false alarms.
    """

    evaluator: CandidateEvaluator
    limits: GateLimits
    costs: dict[str, float]
    max_float: float = 0.5
    images: int = 16
    on_progress: OnProgress = no_progress
    alarms: Callable[[Candidate], AlarmComparison | None] = lambda candidate: None

    def run(self, methods: Sequence[str]) -> SearchResult:
        """Return the best candidate; its gate result says whether it passes."""
        compared = self.compare([Candidate(method) for method in methods])
        best = self.evaluate_with_alarms(self.best(compared).candidate)
        result = SearchResult(best, compared)
        if not best.gate.passed and self.max_float:
            result = self._fall_back(best, compared)
        return self._with_fp16(result)

    def _with_fp16(self, result: SearchResult) -> SearchResult:
        """Compute everything that is not int8 in fp16, if there is an fp16 graph and it passes too.

        Other methods that pass are tried as well: with fp16 the best one may no longer pass.
        """
        if not result.best.gate.passed or self.evaluator.fp16_model is None:
            return result
        for passing in self._passing(result):
            step = self.evaluate_with_alarms(replace(passing.candidate, float_precision="fp16"))
            result = replace(result, steps=(*result.steps, step))
            if step.gate.passed:
                return replace(result, best=step)
        return result

    def _passing(self, result: SearchResult) -> list[CandidateResult]:
        """Return the best candidate, then every other method that passed with nothing in float."""
        others = [item for item in result.methods if item.gate.passed]
        others = [item for item in others if item.candidate != result.best.candidate]
        return [result.best, *sorted(others, key=lambda item: item.gate.figures.map_error)]

    def compare(self, candidates: Sequence[Candidate]) -> tuple[CandidateResult, ...]:
        """Evaluate the candidates by their figures alone."""
        results = []
        for done, candidate in enumerate(candidates):
            self.on_progress("comparing methods", done, len(candidates))
            results.append(self.evaluate(candidate))
        self.on_progress("comparing methods", len(candidates), len(candidates))
        return tuple(results)

    def evaluate(self, candidate: Candidate) -> CandidateResult:
        """Evaluate by figures alone: false alarms need a threshold, which takes longer."""
        figures = self.evaluator.figures(candidate)
        return CandidateResult(candidate, apply_gate(self.evaluator.fp32, figures, self.limits))

    def evaluate_with_alarms(self, candidate: Candidate) -> CandidateResult:
        """Evaluate, and count false alarms once the other figures are within their limits."""
        result = self.evaluate(candidate)
        alarms = self.alarms(candidate) if result.gate.passed else None
        if not alarms:
            return result
        gate = apply_gate(self.evaluator.fp32, result.gate.figures, self.limits, alarms)
        return CandidateResult(candidate, gate)

    def best(self, compared: Sequence[CandidateResult]) -> CandidateResult:
        """Return a passing candidate if any, else the one least beyond its limits.

        Within the limits the figures differ by chance, so there the map error decides.
        """

        def rank(item: CandidateResult) -> tuple[bool, float, float]:
            over = max(excess(item.gate, self.limits), 1.0)
            return (not item.gate.passed, over, item.gate.figures.map_error)

        return min(compared, key=rank)

    def sensitivity(self, method: str) -> tuple[BlockSensitivity, ...]:
        """Measure every block's part in the error, worst first."""
        blocks = self.evaluator.placement(Candidate(method)).blocks
        results = []
        for done, block in enumerate(blocks):
            self.on_progress("sensitivity of blocks", done, len(blocks))
            others = frozenset(blocks) - {block}
            alone = self.evaluator.error(Candidate(method, others), self.images)
            without = self.evaluator.error(Candidate(method, frozenset({block})), self.images)
            results.append(BlockSensitivity(block, alone, without, self.costs.get(block, 0.0)))
        self.on_progress("sensitivity of blocks", len(blocks), len(blocks))
        return tuple(sorted(results, key=lambda item: item.without - item.alone))

    def _fall_back(
        self, start: CandidateResult, compared: tuple[CandidateResult, ...]
    ) -> SearchResult:
        method = start.candidate.method
        all_int8 = self.evaluator.error(Candidate(method), self.images)
        blocks = self.sensitivity(method)
        evaluate = self.evaluate_with_alarms if start.gate.alarms else self.evaluate
        steps = self._return_blocks(start, blocks, all_int8, evaluate)
        confirmed = self._confirmed(start, steps)
        if not confirmed.gate.passed and any(step.gate.passed for step in steps):
            # the figures pass, with too many false alarms: more blocks in float may prevent those
            steps += self._return_blocks(start, blocks, all_int8, self.evaluate_with_alarms)
            confirmed = self._confirmed(start, steps)
        return SearchResult(confirmed, compared, blocks, all_int8, tuple(steps))

    def _return_blocks(
        self,
        start: CandidateResult,
        blocks: Sequence[BlockSensitivity],
        all_int8: float,
        evaluate: Evaluate,
    ) -> list[CandidateResult]:
        """Return as few blocks to float as the gate demands; return every step."""
        ranked = self._affordable(by_gain(blocks, all_int8))
        steps = self._fewest(start.candidate.method, ranked, evaluate)
        best = self._cheapest([start, *steps])
        return steps + (self._quantize_again(best, blocks, evaluate) if best.gate.passed else [])

    def _confirmed(
        self, start: CandidateResult, steps: Sequence[CandidateResult]
    ) -> CandidateResult:
        """Return the cheapest step that passes with false alarms counted; else the best failing."""
        failed = [start, *(step for step in steps if not step.gate.passed)]
        passing = [step for step in steps if step.gate.passed]
        for step in sorted(passing, key=lambda item: self.float_share(item.candidate)):
            result = self.evaluate_with_alarms(step.candidate)
            if result.gate.passed:
                return result
            failed.append(result)
        return self.best(failed)

    def _affordable(self, ranked: Sequence[BlockSensitivity]) -> list[str]:
        """Return as many of the worst blocks as may return to float."""
        names, cost = [], 0.0
        for block in ranked:
            cost += block.cost
            if cost > self.max_float:
                break
            names.append(block.block)
        return names

    def _fewest(
        self, method: str, ranked: Sequence[str], evaluate: Evaluate
    ) -> list[CandidateResult]:
        """Return 1, 2, 4 ... of the worst blocks to float until the gate passes, then bisect."""
        steps: list[CandidateResult] = []
        failing, passing = 0, 0
        while not passing and failing < len(ranked):
            count = min(max(1, 2 * failing), len(ranked))
            steps.append(self._with_float_blocks(method, ranked[:count], evaluate))
            failing, passing = (failing, count) if steps[-1].gate.passed else (count, 0)
        while passing - failing > 1:
            count = (failing + passing) // 2
            steps.append(self._with_float_blocks(method, ranked[:count], evaluate))
            failing, passing = (failing, count) if steps[-1].gate.passed else (count, passing)
        return steps

    def _with_float_blocks(
        self, method: str, blocks: Sequence[str], evaluate: Evaluate
    ) -> CandidateResult:
        self.on_progress(f"returning {counted(len(blocks), 'block')} to float", 0, 1)
        return evaluate(Candidate(method, frozenset(blocks)))

    def _cheapest(self, compared: Sequence[CandidateResult]) -> CandidateResult:
        """Return the passing candidate with the least in float; without one, the best failing."""
        passing = [item for item in compared if item.gate.passed]
        if not passing:
            return self.best(compared)
        return min(passing, key=lambda item: self.float_share(item.candidate))

    def float_share(self, candidate: Candidate) -> float:
        """Return the share of multiplications in the candidate's float blocks."""
        return sum(self.costs.get(block, 0.0) for block in candidate.float_blocks)

    def _quantize_again(
        self, best: CandidateResult, blocks: Sequence[BlockSensitivity], evaluate: Evaluate
    ) -> list[CandidateResult]:
        """Quantize each float block again, the most costly first, where the gate still passes."""
        steps = []
        costly = sorted(blocks, key=lambda item: -item.cost)
        for block in [b.block for b in costly if b.block in best.candidate.float_blocks]:
            fewer = best.candidate.float_blocks - {block}
            if not fewer:
                break  # that candidate is the one that failed
            step = evaluate(Candidate(best.candidate.method, fewer))
            steps.append(step)
            if step.gate.passed:
                best = step
        return steps


def by_gain(blocks: Sequence[BlockSensitivity], all_int8: float) -> list[BlockSensitivity]:
    """Sort blocks by the error they remove for each multiplication returned to float."""

    def gain(item: BlockSensitivity) -> float:
        removed = max(all_int8**2 - item.without**2, 0.0) + 0.1 * item.alone**2
        return removed / (item.cost + 0.01)

    return sorted(blocks, key=gain, reverse=True)
