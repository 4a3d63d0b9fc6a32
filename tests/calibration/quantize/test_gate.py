"""The gate's arithmetic: losses, significance, verdicts, and which precision wins."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from edge_ad.calibration.quantize.comparison import ComparedPrecision, fastest
from edge_ad.calibration.quantize.eval_set import affordable
from edge_ad.calibration.quantize.gate import (
    UNKNOWN,
    AccuracyFigures,
    AlarmComparison,
    GateLimits,
    GateResult,
    apply_gate,
    broken_by_fp32,
    count_alarms,
    excess,
    map_error,
    too_many,
)
from edge_ad.calibration.quantize.search import BlockSensitivity, by_gain
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
        pytest.param(0.99, 0.6, [], id="better than fp32"),
        pytest.param(0.94, 0.5, ["image_auroc"], id="image AUROC lost"),
        pytest.param(0.95, 0.4, ["pixel_ap"], id="pixel AP alone lost"),
        pytest.param(0.8, 0.1, ["image_auroc", "pixel_ap"], id="both lost"),
        pytest.param(0.95, None, ["pixel_ap"], id="a figure that is undefined fails"),
        pytest.param(0.95, float("nan"), ["pixel_ap"], id="a figure that is no number fails"),
        pytest.param(float("nan"), 0.5, ["image_auroc"], id="an image AUROC that is NaN fails"),
    ],
)
def test_a_loss_beyond_its_limit_fails(auroc: float, ap: float | None, failures: list[str]) -> None:
    result = apply_gate(FP32, _int8(auroc, ap), GateLimits())
    assert [line.split()[0] for line in result.failures] == failures
    assert result.passed == (not failures)


@pytest.mark.parametrize(
    ("tiles", "size", "most"), [((1, 1), 256, 400), ((8, 8), 256, 32), ((20, 20), 512, 8)]
)
def test_images_of_many_tiles_are_fewer_so_that_they_fit_in_memory(
    tiles: tuple[int, int], size: int, most: int
) -> None:
    manifest = Manifest(method="m", size_hw=(size, size), geometry=Geometry(tiles=tiles))
    assert affordable(400, manifest) == most


def test_a_loss_of_the_limit_itself_passes() -> None:
    exact = GateLimits(image_auroc=0.0, pixel_ap=0.0)
    assert apply_gate(FP32, _int8(0.95, 0.5), exact).passed
    assert not apply_gate(FP32, _int8(0.95, 0.5 - 1e-9), exact).passed


def test_an_output_that_is_not_finite_fails_and_is_named_first() -> None:
    result = apply_gate(FP32, UNKNOWN, GateLimits())
    assert result.failures[0] == "its output contains NaN or Inf" and len(result.failures) == 3
    assert not apply_gate(FP32, UNKNOWN, GateLimits(pixel_ap=None)).passed
    assert "NaN" not in apply_gate(FP32, _int8(0.1, 0.1), GateLimits()).failures[0]


@pytest.mark.parametrize("figures", [FP32, UNKNOWN])
def test_figures_can_be_kept_as_json(figures: AccuracyFigures) -> None:
    text = json.dumps(figures.as_json(), allow_nan=False)
    assert AccuracyFigures.from_json(json.loads(text)) == figures


def test_a_waived_limit_allows_an_undefined_figure() -> None:
    result = apply_gate(FP32, _int8(0.95, None), GateLimits(pixel_ap=None))
    assert result.passed
    assert set(result.losses) == {"image_auroc"}


def test_an_undefined_figure_is_worse_than_any_loss() -> None:
    result = apply_gate(FP32, _int8(0.95, None), GateLimits())
    assert "cannot be computed" in result.failures[0]
    assert excess(result, GateLimits()) == np.inf
    json.dumps(result.as_json(), allow_nan=False)


def test_excess_counts_in_limits() -> None:
    result = apply_gate(FP32, _int8(0.946, 0.47), GateLimits(image_auroc=0.002, pixel_ap=0.01))
    assert excess(result, GateLimits()) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("normal", "false_alarms", "rate", "significant"),
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
    normal: int, false_alarms: int, rate: float, *, significant: bool
) -> None:
    alarms = AlarmComparison(1.0, normal, false_alarms, 0, rate, 0)
    assert too_many(alarms, 0.05) is significant
    assert apply_gate(FP32, FP32, GateLimits(), alarms).passed is not significant


def test_thousands_of_parts_are_no_more_than_a_float_holds() -> None:
    alarms = AlarmComparison(1.0, 3000, 500, 490, 0.01, 0)
    assert not too_many(alarms, 0.05) and broken_by_fp32(alarms, 0.05)


def test_significance_agrees_with_random_draws() -> None:
    draws = np.random.default_rng(0).binomial(200, 0.02, 100_000)
    for count in range(12):
        share = float((draws >= count).mean())
        if abs(share - 0.05) > 0.005:
            assert too_many(AlarmComparison(1.0, 200, count, 0, 0.02, 0), 0.05) == (share < 0.05)


def test_false_alarms_and_changed_verdicts_are_counted() -> None:
    normal = [np.array([number]) for number in range(3)]
    fp32, int8 = np.array([1, 2, 3, 8, 9]) > 3, np.array([10, 20, 36, 34, 90]) > 35
    alarms = count_alarms(normal, fp32, int8, threshold=35.0, guaranteed_rate=0.01)
    assert (alarms.normal, alarms.false_alarms, alarms.changed_verdicts) == (3, 1, 2)
    assert alarms.fp32_false_alarms == 0
    pairs = [np.array([0, 1]), np.array([1, 2])]  # a part is rejected if any of its images is
    alarms = count_alarms(pairs, fp32, int8, threshold=35.0, guaranteed_rate=0.01)
    assert (alarms.normal, alarms.false_alarms) == (2, 1)


@pytest.mark.parametrize(
    ("false_alarms", "passes"),
    [
        pytest.param(4, True, id="as many as fp32: another int8 would not fix it"),
        pytest.param(9, False, id="many more than fp32"),
    ],
)
def test_a_guarantee_that_fp32_breaks_does_not_fail_int8(
    false_alarms: int, *, passes: bool
) -> None:
    alarms = AlarmComparison(0.19, 50, false_alarms, 4, 0.024, 0)
    assert broken_by_fp32(alarms, 0.05)
    assert apply_gate(FP32, FP32, GateLimits(), alarms).passed is passes
    assert not broken_by_fp32(AlarmComparison(0.19, 50, 4, 3, 0.024, 0), 0.05)


def test_map_error_is_relative_to_the_spread_and_leaves_ignored_pixels_out() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.normal(3, 2, (20, 20)).astype(np.float32) for _ in range(4)]
    assert map_error(maps, maps) == 0.0
    assert map_error(maps, [values + 0.2 for values in maps]) == pytest.approx(0.1, rel=0.05)
    for side in (maps, shifted := [values + np.float32(0.2) for values in maps]):
        for values in side:
            values[:5] = -np.inf
    assert map_error(maps, shifted) == pytest.approx(0.1, rel=0.1)


def test_the_error_of_maps_that_are_constant_is_none_or_whole() -> None:
    flat = [np.zeros((4, 4), np.float32)]
    assert map_error(flat, flat) == 0.0
    assert map_error(flat, [np.full((4, 4), 0.1, np.float32)]) == 1.0


def _result(*, passes: bool) -> GateResult:
    return GateResult(FP32, {}, () if passes else ("lost",))


def _compared(*times: tuple[str, float, str]) -> Sequence[ComparedPrecision]:
    return [
        ComparedPrecision(name, ms, _result(passes=verdict == "passes"))  # type: ignore[arg-type]
        for name, ms, verdict in times
    ]


@pytest.mark.parametrize(
    ("times", "winner"),
    [
        pytest.param(
            [("fp32", 10, "passes"), ("int8", 4, "passes")], "int8", id="int8 is much faster"
        ),
        pytest.param(
            [("fp32", 10, "passes"), ("int8", 9.8, "passes")], "fp32", id="too little faster"
        ),
        pytest.param(
            [("fp32", 10, "passes"), ("int8", 4, "fails")], "fp32", id="int8 fails the gate"
        ),
        pytest.param(
            [("fp32", 10, "passes"), ("fp16", 5, "passes"), ("int8", 4.9, "passes")],
            "fp16",
            id="int8 is not worth it beside fp16",
        ),
        pytest.param(
            [("fp32", 10, "passes"), ("fp16", 14, "passes"), ("int8", 5, "passes")],
            "int8",
            id="fp16 slower than fp32",
        ),
    ],
)
def test_the_simplest_stays_unless_clearly_beaten(
    times: list[tuple[str, float, str]], winner: str
) -> None:
    assert fastest(_compared(*times), 0.05).precision == winner


def test_blocks_return_to_float_by_error_for_each_multiplication() -> None:
    small = BlockSensitivity("small", alone=0.05, without=0.07, cost=0.01)
    large = BlockSensitivity("large", alone=0.06, without=0.06, cost=0.5)
    harmless = BlockSensitivity("harmless", alone=0.0, without=0.1, cost=0.01)
    assert [item.block for item in by_gain([harmless, large, small], 0.1)] == [
        "small",
        "large",
        "harmless",
    ]


def test_of_blocks_that_remove_nothing_the_one_with_more_error_alone_comes_first() -> None:
    quiet, loud = (
        BlockSensitivity(name, alone, 0.1, 0.1) for name, alone in (("q", 0.01), ("l", 0.05))
    )
    assert [item.block for item in by_gain([quiet, loud], 0.1)] == ["l", "q"]
