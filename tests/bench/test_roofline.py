"""What layers cost beside what the machine could do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.bench.roofline import (
    Ceilings,
    LayerCost,
    describe_roofline,
    measure_ceilings,
    profile_layers,
    read_profile,
)
from edge_ad.errors import IncompatibleError

CEILINGS = Ceilings(gflops=100.0, gbytes=10.0)


def event(
    number: int, operator: str, microseconds: int, inputs: list[list[int]], output: list[int]
) -> dict[str, Any]:
    """Return a layer as ONNX Runtime's profile has it."""
    sizes = {"activation_size": "1000", "parameter_size": "200", "output_size": "30"}
    shapes = {
        "input_type_shape": [{"float": shape} for shape in inputs],
        "output_type_shape": [{"float": output}],
    }
    arguments = {"op_name": operator, "node_index": str(number)} | sizes | shapes
    return {"cat": "Node", "name": "n_kernel_time", "dur": microseconds, "args": arguments}


CONV = ([[1, 3, 8, 8], [16, 3, 3, 3], [16]], [1, 16, 8, 8])


def test_operations_and_bytes_are_read_from_the_shapes() -> None:
    quantized = [[1, 3, 8, 8], [], [], [16, 3, 5, 5], [], []]
    layers = read_profile(
        [
            event(1, "Conv", 10, *CONV),
            event(2, "MatMul", 10, [[4, 7], [7, 5]], [4, 5]),
            event(3, "Add", 10, [[4], [4]], [4]),
            event(4, "QLinearConv", 10, quantized, [1, 16, 8, 8]),
            {"cat": "Session", "name": "run", "dur": 50},
        ]
    )
    assert [layer.name for layer in layers] == ["Conv 3x3", "MatMul", "Add", "QLinearConv 5x5"]
    assert [layer.flops for layer in layers] == [
        2 * 16 * 64 * 27,
        2 * 20 * 7,
        0,
        2 * 16 * 64 * 75,
    ]
    assert layers[0].moved_bytes == 1230


def test_weights_in_a_kernels_own_layout_have_their_shape_from_the_plain_profile() -> None:
    output = [1, 8, 8, 16]
    packed = event(1, "QLinearConv", 10, [[1, 8, 8, 3], [], [], [16]], output)
    plain = event(1, "QLinearConv", 99, [[1, 8, 8, 3], [], [], [16, 3, 5, 5], []], output)
    (layer,) = read_profile([packed], [plain])
    assert (layer.name, layer.flops) == ("QLinearConv 5x5", 2 * 16 * 64 * 75)
    assert layer.seconds == pytest.approx(10e-6)


def test_a_layers_time_is_the_median_after_the_first_run() -> None:
    times = [500, 10, 30, 20]
    (layer,) = read_profile([event(1, "Conv", dur, *CONV) for dur in times])
    assert layer.seconds == pytest.approx(20e-6)


def test_layers_of_one_kind_are_added_up_beside_the_ceiling() -> None:
    layers = [
        LayerCost("Conv 3x3", seconds=0.02, flops=1e9, moved_bytes=1e6),
        LayerCost("Conv 3x3", seconds=0.02, flops=1e9, moved_bytes=1e6),
        LayerCost("Add", seconds=0.01, flops=0, moved_bytes=5e7),
    ]
    described = describe_roofline(layers, CEILINGS)
    conv, add = described["groups"]
    assert (conv["group"], conv["layers"], conv["bound"]) == ("Conv 3x3", 2, "compute")
    assert (conv["share"], conv["gflops"], conv["of_ceiling"]) == (0.8, 50.0, 0.5)
    assert (add["bound"], add["of_ceiling"]) == ("memory", 0.5)
    assert (described["layers_ms"], described["least_ms"]) == (50.0, 25.0)


def test_a_real_engine_is_profiled(make_engine: Callable[..., Path]) -> None:
    layers = profile_layers(make_engine(), np.zeros((1, 32, 32, 3), np.uint8), threads=1, runs=2)
    assert layers and all(layer.seconds > 0 and layer.moved_bytes > 0 for layer in layers)


def test_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncompatibleError, match="trtexec"):
        profile_layers(tmp_path / "a.plan", np.zeros((1, 32, 32, 3), np.uint8))


def test_the_ceilings_are_measured() -> None:
    ceilings = measure_ceilings(0.01)
    assert ceilings.gflops > 0 and ceilings.gbytes > 0
