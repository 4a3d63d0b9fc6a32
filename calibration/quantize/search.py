"""Which ranges, and which blocks: the cheapest int8 graph that passes the gate.

First the methods compete. If none passes, every block's part in the error is measured twice (it
alone in int8; all but it), and the worst go back to float, as few as the gate demands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edge_ad.calibration.quantize.evaluator import Candidate, CandidateEvaluator
from edge_ad.calibration.quantize.gate import (
    AccuracyFigures,
    AlarmComparison,
    GateLimits,
    GateResult,
    excess,
    judge,
)

Alarmed = Callable[[Candidate], AlarmComparison | None]
Look = Callable[[Candidate], "RangeComparison"]  # by figures alone, or with false alarms counted


@dataclass(frozen=True)
class RangeComparison:
    """One candidate with its figures and verdict."""

    candidate: Candidate
    figures: AccuracyFigures
    verdict: GateResult
    alarms: AlarmComparison | None = None


@dataclass(frozen=True)
class BlockError:
    """A block's part in the map error. `alone` with it alone in int8; `without` all but it.

    `cost` is its share of the multiplications: what float takes back of int8's speed.
    """

    block: str
    alone: float
    without: float
    cost: float


@dataclass(frozen=True)
class SearchResult:
    """The search's end: the best candidate, and all that led to it. `everything` is the map error
    with every block in int8."""

    best: RangeComparison
    methods: tuple[RangeComparison, ...]
    blocks: tuple[BlockError, ...] = ()
    everything: float = 0.0
    steps: tuple[RangeComparison, ...] = ()


@dataclass(frozen=True)
class PlacementSearch:
    """How a search is done; `most_float` is the share of multiplications that may go back to float,
    `images` how many rank the blocks."""

    trials: CandidateEvaluator
    limits: GateLimits
    costs: dict[str, float]
    most_float: float = 0.5
    images: int = 16
    tell: Callable[[str, int, int], None] = lambda what, done, total: None
    alarms: Alarmed = lambda candidate: None

    def run(self, methods: Sequence[str]) -> SearchResult:
        """The best candidate; whether it passes is in its verdict."""
        compared = self.compare([Candidate(method) for method in methods])
        best = self.examine(self.best(compared).candidate)
        found = SearchResult(best, compared)
        if not best.verdict.passed and self.most_float:
            found = self._fall_back(best, compared)
        return self._in_half(found)

    def _in_half(self, found: SearchResult) -> SearchResult:
        """What is not int8 goes to fp16 where there is such a graph and it passes as well.

        Other methods that pass get their chance too: fp16 can cost the best one its place.
        """
        if not found.best.verdict.passed or self.trials.half is None:
            return found
        for one in self._passing(found):
            step = self.examine(replace(one.candidate, rest="fp16"))
            found = replace(found, steps=(*found.steps, step))
            if step.verdict.passed:
                return replace(found, best=step)
        return found

    def _passing(self, found: SearchResult) -> list[RangeComparison]:
        """The best candidate, then every other method that passed with nothing in float."""
        others = [one for one in found.methods if one.verdict.passed]
        others = [one for one in others if one.candidate != found.best.candidate]
        return [found.best, *sorted(others, key=lambda one: one.figures.map_error)]

    def compare(self, candidates: Sequence[Candidate]) -> tuple[RangeComparison, ...]:
        found = []
        for done, candidate in enumerate(candidates):
            self.tell("comparing methods", done, len(candidates))
            found.append(self.judged(candidate))
        self.tell("comparing methods", len(candidates), len(candidates))
        return tuple(found)

    def judged(self, candidate: Candidate) -> RangeComparison:
        """One candidate by its figures alone: false alarms need a threshold, which takes longer."""
        figures = self.trials.figures(candidate)
        return RangeComparison(candidate, figures, judge(self.trials.fp32, figures, self.limits))

    def examine(self, candidate: Candidate) -> RangeComparison:
        """One candidate; false alarms are counted once the other figures are within limits."""
        found = self.judged(candidate)
        alarms = self.alarms(candidate) if found.verdict.passed else None
        if not alarms:
            return found
        verdict = judge(self.trials.fp32, found.figures, self.limits, alarms)
        return replace(found, verdict=verdict, alarms=alarms)

    def best(self, compared: Sequence[RangeComparison]) -> RangeComparison:
        """Passing before failing; then least beyond the limits, ties by the maps' error.

        Within the limits the figures differ by chance, so there the error of the maps decides.
        """

        def rank(one: RangeComparison) -> tuple[bool, float, float]:
            over = max(excess(one.verdict, self.limits), 1.0)
            return (not one.verdict.passed, over, one.figures.map_error)

        return min(compared, key=rank)

    def sensitivity(self, method: str) -> tuple[BlockError, ...]:
        """Every block's part in the error, worst first."""
        whole = self.trials.placement(Candidate(method)).blocks
        found = []
        for done, block in enumerate(whole):
            self.tell("sensitivity of blocks", done, len(whole))
            others = frozenset(whole) - {block}
            alone = self.trials.error(Candidate(method, others), self.images)
            without = self.trials.error(Candidate(method, frozenset({block})), self.images)
            found.append(BlockError(block, alone, without, self.costs.get(block, 0.0)))
        self.tell("sensitivity of blocks", len(whole), len(whole))
        return tuple(sorted(found, key=lambda one: one.without - one.alone))

    def _fall_back(
        self, start: RangeComparison, compared: tuple[RangeComparison, ...]
    ) -> SearchResult:
        method = start.candidate.method
        everything = self.trials.error(Candidate(method), self.images)
        blocks = self.sensitivity(method)
        order = self._affordable(by_gain(blocks, everything))
        look = self.examine if start.alarms else self.judged
        steps = self._fewest(method, order, look)
        best = self._cheapest([start, *steps])
        if best.verdict.passed:
            steps += self._given_back(best, blocks, look)
        return SearchResult(self._proven(start, steps), compared, blocks, everything, tuple(steps))

    def _proven(self, start: RangeComparison, steps: Sequence[RangeComparison]) -> RangeComparison:
        """The cheapest step that passes with its false alarms counted; else the best failing."""
        failed = [start, *(step for step in steps if not step.verdict.passed)]
        passing = [step for step in steps if step.verdict.passed]
        for step in sorted(passing, key=lambda one: self.float_share(one.candidate)):
            found = self.examine(step.candidate)
            if found.verdict.passed:
                return found
            failed.append(found)
        return self.best(failed)

    def _affordable(self, order: Sequence[BlockError]) -> list[str]:
        """As many of the worst as leave int8 worth its name."""
        names, cost = [], 0.0
        for block in order:
            cost += block.cost
            if cost > self.most_float:
                break
            names.append(block.block)
        return names

    def _fewest(self, method: str, order: Sequence[str], look: Look) -> list[RangeComparison]:
        """Return 1, 2, 4 ... of the worst blocks to float until the gate holds, then bisect."""
        steps: list[RangeComparison] = []
        failing, passing = 0, 0
        while not passing and failing < len(order):
            count = min(max(1, 2 * failing), len(order))
            steps.append(self._returned(method, order[:count], look))
            failing, passing = (failing, count) if steps[-1].verdict.passed else (count, 0)
        while passing - failing > 1:
            count = (failing + passing) // 2
            steps.append(self._returned(method, order[:count], look))
            failing, passing = (failing, count) if steps[-1].verdict.passed else (count, passing)
        return steps

    def _returned(self, method: str, blocks: Sequence[str], look: Look) -> RangeComparison:
        self.tell(f"returning {len(blocks)} blocks to float", 0, 1)
        return look(Candidate(method, frozenset(blocks)))

    def _cheapest(self, compared: Sequence[RangeComparison]) -> RangeComparison:
        """The passing candidate that gives up the least int8; without one, the best failing."""
        passing = [one for one in compared if one.verdict.passed]
        if not passing:
            return self.best(compared)
        return min(passing, key=lambda one: self.float_share(one.candidate))

    def float_share(self, candidate: Candidate) -> float:
        """The share of multiplications that a candidate's returned blocks stand for."""
        return sum(self.costs.get(block, 0.0) for block in candidate.float_blocks)

    def _given_back(
        self, best: RangeComparison, blocks: Sequence[BlockError], look: Look
    ) -> list[RangeComparison]:
        """Quantize each returned block again, the most costly first, where the gate holds."""
        steps = []
        costly = sorted(blocks, key=lambda one: -one.cost)
        for block in [b.block for b in costly if b.block in best.candidate.float_blocks]:
            fewer = best.candidate.float_blocks - {block}
            if not fewer:
                break  # that candidate is the one that failed
            step = look(Candidate(best.candidate.method, fewer))
            steps.append(step)
            if step.verdict.passed:
                best = step
        return steps


def by_gain(blocks: Sequence[BlockError], everything: float) -> list[BlockError]:
    """Blocks by how much error leaves with them for each multiplication returned to float."""

    def gain(one: BlockError) -> float:
        left = max(everything**2 - one.without**2, 0.0) + 0.1 * one.alone**2
        return left / (one.cost + 0.01)

    return sorted(blocks, key=gain, reverse=True)
