"""The gate's arithmetic: losses, chance, verdicts, and who wins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edge_ad.calibration.quantize.comparison import ComparedPrecision, fastest
from edge_ad.calibration.quantize.eval_set import affordable
from edge_ad.calibration.quantize.gate import (
    AccuracyFigures,
    AlarmComparison,
    GateLimits,
    GateResult,
    ThresholdCounts,
    broken_by_fp32,
    count_alarms,
    excess,
    judge,
    map_error,
    too_many,
)
from edge_ad.calibration.quantize.search import BlockError, by_gain
from edge_ad.geometry import Geometry
from edge_ad.manifest import Manifest

FP32 = AccuracyFigures(image_auroc=0.95, pixel_ap=0.5, aupro=0.8, map_error=0.0)


def _int8(auroc: float, ap: float | None) -> AccuracyFigures:
    return AccuracyFigures(image_auroc=auroc, pixel_ap=ap, aupro=0.8, map_error=0.1)


@pytest.mark.parametrize(
    ("auroc", "ap", "failures"),
    [
        pytest.param(0.95, 0.5, [], id="nothing lost"),
        pytest.param(0.949, 0.495, [], id="within both limits"),
        pytest.param(0.99, 0.6, [], id="better is not worse"),
        pytest.param(0.94, 0.5, ["image_auroc"], id="the image score suffers"),
        pytest.param(0.95, 0.4, ["pixel_ap"], id="the image score survives, the map does not"),
        pytest.param(0.8, 0.1, ["image_auroc", "pixel_ap"], id="all is lost"),
        pytest.param(0.95, None, [], id="without masks the image decides"),
    ],
)
def test_a_loss_beyond_its_limit_fails(auroc: float, ap: float | None, failures: list[str]) -> None:
    verdict = judge(FP32, _int8(auroc, ap), GateLimits())
    assert [line.split()[0] for line in verdict.failures] == failures
    assert verdict.passed == (not failures)


@pytest.mark.parametrize(
    ("tiles", "size", "most"), [((1, 1), 256, 400), ((8, 8), 256, 32), ((20, 20), 512, 8)]
)
def test_images_of_many_tiles_are_fewer_so_that_they_fit_in_memory(
    tiles: tuple[int, int], size: int, most: int
) -> None:
    manifest = Manifest(method="m", size_hw=(size, size), geometry=Geometry(tiles=tiles))
    assert affordable(400, manifest) == most


def test_excess_counts_in_limits() -> None:
    verdict = judge(FP32, _int8(0.946, 0.47), GateLimits(image_auroc=0.002, pixel_ap=0.01))
    assert excess(verdict, GateLimits()) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("normal", "false_alarms", "promised", "suspicious"),
    [
        (100, 1, 0.01, False),
        (100, 3, 0.01, False),
        (100, 4, 0.01, True),
        (20, 0, 0.01, False),
        (20, 2, 0.01, True),
        (1000, 60, 0.05, False),
        (1000, 65, 0.05, True),
        (0, 0, 0.01, False),
    ],
)
def test_false_alarms_beyond_chance_are_too_many(
    normal: int, false_alarms: int, promised: float, *, suspicious: bool
) -> None:
    alarms = AlarmComparison(1.0, normal, false_alarms, 0, promised, 0)
    assert too_many(alarms, 0.05) is suspicious
    assert judge(FP32, FP32, GateLimits(), alarms).passed is not suspicious


def test_chance_is_counted_as_draws_show_it() -> None:
    draws = np.random.default_rng(0).binomial(200, 0.02, 100_000)
    for count in range(12):
        share = float((draws >= count).mean())
        if abs(share - 0.05) > 0.005:
            assert too_many(AlarmComparison(1.0, 200, count, 0, 0.02, 0), 0.05) == (share < 0.05)


def test_verdicts_are_taken_at_each_engines_own_threshold() -> None:
    anomalous = np.array([False, False, False, True, True])
    fp32 = ThresholdCounts(np.array([1, 2, 3, 8, 9], np.float32), 3.0)
    int8 = ThresholdCounts(np.array([10, 20, 36, 34, 90], np.float32), 35.0)
    alarms = count_alarms(anomalous, fp32, int8, 0.01)
    assert (alarms.normal, alarms.false_alarms, alarms.flips) == (3, 1, 2)
    assert alarms.fp32_false_alarms == 0


@pytest.mark.parametrize(
    ("false_alarms", "passes"),
    [
        pytest.param(4, True, id="as many as fp32: another int8 would not mend it"),
        pytest.param(9, False, id="many more than fp32"),
    ],
)
def test_a_promise_that_fp32_breaks_is_not_held_against_int8(
    false_alarms: int, *, passes: bool
) -> None:
    alarms = AlarmComparison(0.19, 50, false_alarms, 4, 0.024, 0)
    assert broken_by_fp32(alarms, 0.05)
    assert judge(FP32, FP32, GateLimits(), alarms).passed is passes
    assert not broken_by_fp32(AlarmComparison(0.19, 50, 4, 3, 0.024, 0), 0.05)


def test_map_error_is_relative_to_the_spread_and_leaves_ignored_pixels_out() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.normal(3, 2, (20, 20)).astype(np.float32) for _ in range(4)]
    assert map_error(maps, maps) == 0.0
    assert map_error(maps, [one + 0.2 for one in maps]) == pytest.approx(0.1, rel=0.05)
    for side in (maps, shifted := [one + np.float32(0.2) for one in maps]):
        for one in side:
            one[:5] = -np.inf
    assert map_error(maps, shifted) == pytest.approx(0.1, rel=0.1)


def _contenders(*times: tuple[str, float, str]) -> Sequence[ComparedPrecision]:
    return [
        ComparedPrecision(name, ms, FP32, GateResult({}, () if found == "passes" else ("lost",)))  # type: ignore[arg-type]
        for name, ms, found in times
    ]


@pytest.mark.parametrize(
    ("times", "winner"),
    [
        pytest.param([("fp32", 10, "passes"), ("int8", 4, "passes")], "int8", id="int8 pays"),
        pytest.param([("fp32", 10, "passes"), ("int8", 9.8, "passes")], "fp32", id="too little"),
        pytest.param([("fp32", 10, "passes"), ("int8", 4, "fails")], "fp32", id="fails"),
        pytest.param(
            [("fp32", 10, "passes"), ("fp16", 5, "passes"), ("int8", 4.9, "passes")],
            "fp16",
            id="int8 is not worth it beside fp16",
        ),
        pytest.param(
            [("fp32", 10, "passes"), ("fp16", 14, "passes"), ("int8", 5, "passes")],
            "int8",
            id="a slow fp16 is no obstacle",
        ),
    ],
)
def test_the_simplest_stays_unless_clearly_beaten(
    times: list[tuple[str, float, str]], winner: str
) -> None:
    assert fastest(_contenders(*times), 0.05).precision == winner


def test_blocks_return_to_float_by_error_for_each_multiplication() -> None:
    small = BlockError("small", alone=0.05, without=0.07, cost=0.01)
    large = BlockError("large", alone=0.06, without=0.06, cost=0.5)
    harmless = BlockError("harmless", alone=0.0, without=0.1, cost=0.01)
    assert [one.block for one in by_gain([harmless, large, small], 0.1)] == [
        "small",
        "large",
        "harmless",
    ]
