"""The search for the cheapest int8 graph that passes, on engines whose losses are known."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from edge_ad.calibration.quantize.evaluator import Candidate
from edge_ad.calibration.quantize.gate import AccuracyFigures, AlarmComparison, GateLimits
from edge_ad.calibration.quantize.search import PlacementSearch, SearchResult

LIMITS = GateLimits(image_auroc=0.002, pixel_ap=None)
FP32 = AccuracyFigures(1.0, None, None, 0.0)
METHODS = {"minmax": 1.0, "mse": 0.5}  # times the error of a block


class KnownLosses:
    """Each block has an error in int8; those above 1 cost image AUROC, 0.01 each.

    `lost` adds a loss for a candidate, as in fp16 or by a method.
    """

    def __init__(
        self, errors: dict[str, float], lost: Callable[[Candidate], float] = lambda one: 0.0
    ) -> None:
        self.errors, self.lost, self.fp32, self.evaluated = errors, lost, FP32, 0
        self.fp16_model: object = None

    def placement(self, candidate: Candidate) -> SimpleNamespace:
        return SimpleNamespace(
            blocks=tuple(b for b in self.errors if b not in candidate.float_blocks)
        )

    def error(self, candidate: Candidate, images: int) -> float:
        errors = [self.errors[block] for block in self.placement(candidate).blocks]
        return METHODS[candidate.method] * float(np.sqrt(np.square(errors).sum()))

    def figures(self, candidate: Candidate) -> AccuracyFigures:
        self.evaluated += 1
        bad = sum(self.errors[block] > 1 for block in self.placement(candidate).blocks)
        loss = 0.01 * bad + self.lost(candidate)
        return AccuracyFigures(1.0 - loss, None, None, self.error(candidate, 0))


def search(
    known: KnownLosses, costs: dict[str, float] | None = None, **options: object
) -> tuple[SearchResult, PlacementSearch]:
    costs = costs or dict.fromkeys(known.errors, 1 / len(known.errors))
    one = PlacementSearch(known, LIMITS, costs, **options)  # type: ignore[arg-type]
    return one.run(tuple(METHODS)), one


def harmless(count: int) -> dict[str, float]:
    return {f"b{number}": 0.1 for number in range(count)}


def test_of_methods_that_pass_the_one_of_the_smallest_map_error_wins() -> None:
    result, _ = search(KnownLosses(harmless(4)))
    assert result.best.candidate == Candidate("mse") and result.best.gate.passed
    assert [item.candidate.method for item in result.methods] == ["minmax", "mse"]
    assert not result.blocks and not result.steps
    unlucky = KnownLosses(harmless(4), lambda one: 0.01 * (one.method == "mse"))
    assert search(unlucky)[0].best.candidate == Candidate("minmax"), "one that passes comes first"
    by_chance = KnownLosses(harmless(4), lambda one: 0.001 * (one.method == "mse"))
    assert search(by_chance)[0].best.candidate == Candidate("mse"), (
        "within the limit, error decides"
    )


@pytest.mark.parametrize(
    "bad", [["b0"], ["b3", "b7"], ["b1", "b2", "b9"], ["b0", "b5", "b6", "b8"]]
)
def test_just_the_blocks_that_cost_accuracy_return_to_float(bad: list[str]) -> None:
    known = KnownLosses(harmless(12) | dict.fromkeys(bad, 2.0))
    result, _ = search(known)
    assert result.best.gate.passed and result.best.candidate.float_blocks == frozenset(bad)
    assert {item.block for item in result.blocks[: len(bad)]} == set(bad), "worst first"
    assert result.all_int8 == known.error(Candidate("mse"), 0)


def test_few_of_many_blocks_are_returned_in_few_steps() -> None:
    errors = {f"b{number:02d}": 0.01 * number + 0.01 for number in range(64)}
    errors |= {f"b{number:02d}": 2.0 + number for number in range(40, 51)}
    result, _ = search(KnownLosses(errors), max_float=1.0)
    assert result.best.candidate.float_blocks == {f"b{number:02d}" for number in range(40, 51)}
    doubled = [len(step.candidate.float_blocks) for step in result.steps[:8]]
    assert doubled[:5] == [1, 2, 4, 8, 16] and doubled[5:8] == [12, 10, 11]


@pytest.mark.parametrize(("most", "passes"), [(0.0, False), (0.29, False), (0.31, True)])
def test_no_more_than_the_share_allowed_returns_to_float(most: float, *, passes: bool) -> None:
    known = KnownLosses(harmless(10) | {"b0": 2.0, "b1": 2.0, "b2": 2.0})
    result, one = search(known, max_float=most)
    assert result.best.gate.passed is passes
    assert all(one.float_share(step.candidate) <= most + 1e-9 for step in result.steps)
    assert bool(result.blocks) is (most > 0)


def test_blocks_that_make_up_just_the_share_allowed_may_return() -> None:
    result, one = search(KnownLosses(harmless(4) | {"b0": 2.0, "b1": 2.0}), max_float=0.5)
    assert result.best.gate.passed and one.float_share(result.best.candidate) == 0.5


def test_of_two_ways_to_pass_the_one_of_fewer_multiplications_is_taken() -> None:
    """Of two blocks either may return to float beside a third; the costly one is int8 again."""
    costs = {"dear": 0.2, "cheap": 0.05, "third": 0.05, "rest": 0.7}
    enough = ({"dear", "third"}, {"cheap", "third"})
    known = KnownLosses(
        {"dear": 0.9, "cheap": 0.4, "third": 0.3, "rest": 0.1},
        lambda one: 0.05 * (not any(some <= one.float_blocks for some in enough)),
    )
    result, one = search(known, costs)
    assert result.best.candidate.float_blocks == {"cheap", "third"}
    assert one.float_share(result.best.candidate) == pytest.approx(0.1)


def test_a_block_that_must_stay_in_float_does_not_keep_others_there() -> None:
    """The first to be quantized again fails; the next is tried with that one in float."""
    known = KnownLosses({"loud": 0.99, "bad": 2.0, "rest": 0.1})
    result, _ = search(known, {"loud": 0.05, "bad": 0.45, "rest": 0.5})
    assert result.best.candidate.float_blocks == {"bad"} and result.best.gate.passed


def alarms(of: Callable[[Candidate], int]) -> Callable[[Candidate], AlarmComparison]:
    return lambda candidate: AlarmComparison(1.0, 100, of(candidate), 0, 0.01, 0)


def test_false_alarms_alone_return_blocks_to_float() -> None:
    known = KnownLosses(harmless(6) | {"b4": 0.9})
    counted = alarms(lambda one: 0 if "b4" in one.float_blocks else 30)
    result, _ = search(known, alarms=counted)
    assert result.best.candidate.float_blocks == {"b4"} and result.best.gate.passed
    assert result.best.gate.alarms is not None and result.best.gate.alarms.false_alarms == 0
    never, _ = search(known, alarms=alarms(lambda one: 30))
    assert not never.best.gate.passed and "30 of 100 normal parts" in never.best.gate.failures[-1]


@pytest.mark.parametrize(("needed", "passes"), [(2, True), (3, True), (6, True), (9, False)])
def test_false_alarms_that_remain_return_more_blocks(needed: int, *, passes: bool) -> None:
    """Two blocks cost accuracy; false alarms are only counted with these in float."""
    known = KnownLosses(harmless(8) | {"b1": 2.0, "b2": 1.9})
    counted = alarms(lambda one: 0 if len(one.float_blocks) >= needed else 30)
    result, _ = search(known, alarms=counted, max_float=1.0)
    assert result.best.gate.passed is passes
    if passes:
        assert len(result.best.candidate.float_blocks) == needed
        assert {"b1", "b2"} <= result.best.candidate.float_blocks


@pytest.mark.parametrize("broken", [(), ("mse",), ("mse", "minmax")])
def test_fp16_is_taken_for_the_first_method_that_passes_with_it(broken: tuple[str, ...]) -> None:
    known = KnownLosses(
        harmless(4), lambda one: 0.05 * (one.float_precision == "fp16" and one.method in broken)
    )
    known.fp16_model = object()
    result, _ = search(known)
    method = next((name for name in ("mse", "minmax") if name not in broken), "mse")
    assert result.best.candidate.method == method and result.best.gate.passed
    assert (result.best.candidate.float_precision == "fp16") is (len(broken) < 2)
    assert len(result.steps) == min(len(broken) + 1, 2)


def test_fp16_is_not_tried_where_int8_fails_beside_fp32() -> None:
    known = KnownLosses(harmless(3) | {"b0": 2.0})
    known.fp16_model = object()
    result, _ = search(known, max_float=0.0)
    assert not result.best.gate.passed and result.steps == ()
