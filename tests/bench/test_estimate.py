"""Estimates of an engine's time on devices that are not here."""

from __future__ import annotations

import pytest

from edge_ad.bench.estimate import DEVICES, estimate_devices
from edge_ad.bench.roofline import Ceilings, LayerCost
from edge_ad.precision import Precision

HERE = Ceilings(gflops=100.0, gbytes=10.0)
VNNI, PLAIN = frozenset({"avx512_vnni"}), frozenset({"sse2"})


def _layer(name: str, ms: float, gflop: float = 0.0, mbytes: float = 0.0) -> LayerCost:
    return LayerCost(name, ms / 1e3, gflop * 1e9, mbytes * 1e6)


def test_an_estimate_is_as_many_times_the_least_as_here() -> None:
    layers = [_layer("Conv 3x3", 15, gflop=1), _layer("Add", 15, mbytes=50)]
    estimate = estimate_devices(layers, HERE, "fp32", VNNI)
    assert estimate["here_at_least_ms"] == 15
    assert estimate["error"] == -0.5
    nano = estimate["devices"][0]
    assert nano["at_least_ms"] == pytest.approx(1 / 2.1 + 50 / 102, abs=1e-3)
    assert nano["estimate_ms"] == pytest.approx(2 * nano["at_least_ms"], abs=2e-3)


def test_an_estimate_is_never_below_the_peaks() -> None:
    nano = estimate_devices([_layer("Conv", 5, gflop=1)], HERE, "fp32", VNNI)["devices"][0]
    assert nano["estimate_ms"] == nano["at_least_ms"]


@pytest.mark.parametrize(
    ("precision", "name", "peak"),
    [("fp32", "Conv", "fp32"), ("fp16", "Conv", "fp16"), ("int8", "QLinearConv", "int8"),
     ("int8", "Conv", "fp32")],
)  # fmt: skip
def test_each_layer_runs_at_the_peak_of_its_arithmetic(
    precision: Precision, name: str, peak: str
) -> None:
    rows = estimate_devices([_layer(name, 1, gflop=1)], HERE, precision, VNNI)["devices"]
    for device, row in zip(DEVICES, rows, strict=True):
        assert row["at_least_ms"] == pytest.approx(1 / getattr(device, peak), abs=1e-3)


def test_int8_here_is_four_times_as_fast_where_the_processor_says_so() -> None:
    layers = [_layer("QLinearConv 3x3", 10, gflop=1)]
    least = [
        estimate_devices(layers, HERE, "int8", flags)["here_at_least_ms"] for flags in (VNNI, PLAIN)
    ]
    assert least == [2.5, 10]
