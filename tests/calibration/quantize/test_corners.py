"""Quantized graphs stay within the bound of their steps, in every corner."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_ad.calibration.quantize.placement import place
from edge_ad.calibration.quantize.qdq import quantize, scale_of
from edge_ad.calibration.quantize.rules import PlacementOverrides
from edge_ad.calibration.ranges.graph_engine import GraphEngine
from edge_ad.calibration.ranges.target import TARGETS, Range, Target
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.index import GraphIndex
from tests.calibration.quantize.error_bound import activations, error_bound, ranges_of

SIDE, CHANNELS = 16, 16
MANIFEST = Manifest(method="drawn", size_hw=(SIDE, SIDE))
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)


class Drawn:
    """A graph with the engine contract, drawn layer by layer."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.constants: dict[str, NDArray[Any]] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.node("Cast", ["image"], "pixels", to=TensorProto.FLOAT)
        self.node("Mul", ["pixels", self.constant("unit", 1 / 255)], "unscaled")
        self.node("Transpose", ["unscaled"], "planes", perm=[0, 3, 1, 2])
        self.last = self.conv("planes", "first", 3)

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], f"node_{output}", **attributes))
        return output

    def constant(self, name: str, value: object, kind: type[np.generic] = np.float32) -> str:
        self.constants[name] = np.asarray(value, kind)
        return name

    def conv(self, x: str, name: str, inputs: int = CHANNELS, group: int = 1) -> str:
        shape = (CHANNELS, inputs // group, 3, 3)
        spread = 1 / np.sqrt(np.prod(shape[1:]))
        weight = self.constant(f"{name}.w", self.rng.normal(0, spread, shape))
        bias = self.constant(f"{name}.b", self.rng.normal(0, 0.2, CHANNELS))
        return self.node("Conv", [x, weight, bias], name, pads=[1] * 4, group=group)

    def finished(self) -> GraphIndex:
        """Return the graph with a head that stays in float."""
        head = self.rng.normal(0, 0.25, (1, CHANNELS, 1, 1))
        self.node("Conv", [self.last, self.constant("head.w", head)], "head")
        self.node("Squeeze", ["head", self.constant("one", [1], np.int64)], "anomaly_map")
        sides = self.constant("sides", [1, 2], np.int64)
        self.node("ReduceMax", ["anomaly_map", sides], "anomaly_score", keepdims=0)
        sides_of = [("anomaly_map", [1, SIDE, SIDE]), ("anomaly_score", [1])]
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIDE, SIDE, 3])],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in sides_of],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return GraphIndex(model, MANIFEST)


def _check(graph: GraphIndex, target: Target, include: tuple[str, ...] = ()) -> onnx.ModelProto:
    """Quantize, run, and compare with the bound; return the int8 graph."""
    tensors = activations(graph, IMAGES)
    zero = frozenset(name for name, values in tensors.items() if not values.any())
    placement = place(graph, target, PlacementOverrides(all_zero=zero, include=include))
    assert placement.weights, "nothing is int8, so nothing is tested"
    ranges = ranges_of(tensors)
    for group in placement.groups:
        members = [ranges[name] for name in group]
        widest = Range(min(r.low for r in members), max(r.high for r in members))
        ranges.update(dict.fromkeys(group, widest))
    model = quantize(graph, placement, ranges)
    onnx.checker.check_model(model, full_check=True)
    with GraphEngine(model, MANIFEST, target) as engine:
        prediction = engine.infer(IMAGES)
    bound = error_bound(graph, placement, ranges, tensors)
    error = np.abs(prediction.maps - tensors["anomaly_map"]).max()
    assert error <= bound["anomaly_map"], (error, bound["anomaly_map"])
    return model


LAYERS = ("conv", "depthwise", "grouped", "relu", "pool", "residual", "concat", "shared")
SPOILS = ("nothing", "dead", "dead and biased", "tiny", "huge", "one huge bias", "no bias at all")


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from(LAYERS), st.sampled_from(SPOILS)), min_size=1, max_size=6),
    st.integers(0, 1 << 16),
    st.sampled_from(TARGETS),
)
def test_drawn_nets_stay_within_the_bound_of_their_steps(
    layers: list[tuple[str, str]], seed: int, target: Target
) -> None:
    net = Drawn(seed)
    for number, (layer, spoil) in enumerate(layers):
        _add(net, layer, f"layer{number}")
        _spoil(net, f"layer{number}", spoil)
    net.last = net.conv(net.last, "always.int8.one")
    _check(net.finished(), target)


def _add(net: Drawn, layer: str, name: str) -> None:
    x = net.last
    if layer in ("conv", "depthwise", "grouped"):
        net.last = net.conv(x, name, group={"conv": 1, "depthwise": CHANNELS, "grouped": 2}[layer])
    elif layer == "relu":
        net.last = net.node("Relu", [x], name)
    elif layer == "pool":
        net.last = net.node("MaxPool", [x], name, kernel_shape=[3, 3], pads=[1] * 4)
    elif layer == "residual":
        net.last = net.node("Add", [net.conv(x, f"{name}.inner"), x], name)
    elif layer == "concat":
        net.node("Concat", [x, net.node("Relu", [x], f"{name}.relu")], f"{name}.both", axis=1)
        net.last = net.conv(f"{name}.both", name, 2 * CHANNELS)
    else:
        first = net.conv(x, f"{name}.first")
        bias = net.constant(f"{name}.b", net.rng.normal(0, 1, CHANNELS))
        net.last = net.node("Conv", [first, f"{name}.first.w", bias], name, pads=[1] * 4)


def _spoil(net: Drawn, name: str, spoil: str) -> None:
    """Change one filter of a layer, or its bias, to what trained nets have too."""
    if f"{name}.w" not in net.constants or f"{name}.b" not in net.constants:
        return
    weight, bias = net.constants[f"{name}.w"], net.constants[f"{name}.b"]
    if spoil.startswith("dead"):
        weight[3], bias[3] = 0.0, 4.2 if spoil == "dead and biased" else 0.0
    elif spoil in ("tiny", "huge"):
        weight[3] *= 1e-8 if spoil == "tiny" else 1e3
    elif spoil == "one huge bias":
        bias[3] = -2e3
    elif spoil == "no bias at all":
        bias[:] = 0.0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_spoilt_filter_stays_within_the_bound(spoil: str, target: Target) -> None:
    net = Drawn()
    net.last = net.conv(net.last, "spoilt")
    _spoil(net, "spoilt", spoil)
    net.last = net.conv(net.last, "after")
    _check(net.finished(), target)


def test_a_dead_filter_gives_its_bias_exactly() -> None:
    net = Drawn()
    net.last = net.conv(net.last, "spoilt")
    _spoil(net, "spoilt", "dead and biased")
    net.last = net.conv(net.last, "after")
    model = _check(net.finished(), "onnxruntime")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    bias = stored["spoilt.b.quantized"] * stored["spoilt.b.scale"].astype(np.float64)
    np.testing.assert_allclose(bias[3], 4.2, rtol=1e-6)
    assert np.abs(stored["spoilt.b.quantized"]).max() <= 2**30, "room for the sum of products"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("op", "attributes", "weight", "bias"),
    [
        ("Gemm", {}, (CHANNELS, CHANNELS), (CHANNELS,)),
        ("Gemm", {"transB": 1}, (CHANNELS, CHANNELS), (1, CHANNELS)),
        ("Gemm", {"transB": 1}, (CHANNELS, CHANNELS), (1,)),
        ("Gemm", {"transB": 1}, (CHANNELS, CHANNELS), ()),
        ("Gemm", {}, (CHANNELS, CHANNELS), (SIDE * SIDE, CHANNELS)),
        ("Gemm", {}, (CHANNELS, CHANNELS), None),
        ("Gemm", {"alpha": 0.5, "beta": 3.0}, (CHANNELS, CHANNELS), (CHANNELS,)),
        ("MatMul", {}, (CHANNELS, CHANNELS), None),
    ],
)
def test_products_of_matrices_stay_close(
    target: Target,
    op: str,
    attributes: dict[str, Any],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
) -> None:
    net = Drawn()
    rows = net.constant("rows", [-1, CHANNELS], np.int64)
    net.node("Transpose", [net.last], "last", perm=[0, 2, 3, 1])
    net.node("Reshape", ["last", rows], "matrix")
    inputs = ["matrix", net.constant("mix.w", net.rng.normal(0, 0.25, weight))]
    if bias is not None:
        inputs.append(net.constant("mix.b", net.rng.normal(0, 1, bias)))
    net.node(op, inputs, "mixed", **attributes)
    planes = net.constant("planes.shape", [1, SIDE, SIDE, CHANNELS], np.int64)
    net.node("Reshape", ["mixed", planes], "back")
    net.last = net.node("Transpose", ["back"], "channels", perm=[0, 3, 1, 2])
    net.last = net.conv(net.last, "after")
    _compare(net.finished(), target)


@pytest.mark.parametrize("include", [(), ("ConvTranspose",)])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("group", [1, 4])
def test_transposed_convolutions_stay_close(
    target: Target, group: int, include: tuple[str, ...]
) -> None:
    net = Drawn()
    weight = net.constant("up.w", net.rng.normal(0, 0.1, (CHANNELS, CHANNELS // group, 3, 3)))
    bias = net.constant("up.b", net.rng.normal(0, 1, CHANNELS))
    net.last = net.node("ConvTranspose", [net.last, weight, bias], "up", pads=[1] * 4, group=group)
    net.last = net.conv(net.last, "after")
    _compare(net.finished(), target, include)


@pytest.mark.parametrize("target", TARGETS)
def test_a_computed_bias_stays_in_float(target: Target) -> None:
    net = Drawn()
    weight = net.constant("biased.w", net.rng.normal(0, 0.08, (CHANNELS, CHANNELS, 3, 3)))
    net.node("GlobalAveragePool", [net.last], "means")
    bias = net.node("Reshape", ["means", net.constant("flat", [CHANNELS], np.int64)], "bias")
    net.last = net.node("Conv", [net.last, weight, bias], "biased", pads=[1] * 4)
    net.last = net.conv(net.last, "after")
    _compare(net.finished(), target)


@pytest.mark.parametrize("target", TARGETS)
def test_constant_and_zero_activations_stay_close(target: Target) -> None:
    net = Drawn()
    net.node("Mul", [net.last, net.constant("zero", 0.0)], "nothing")
    for level in (2.5, -2.5):
        net.node("Add", ["nothing", net.constant(f"level{level}", level)], f"constant{level}")
    summed = [net.conv(name, f"of.{name}.conv") for name in ("nothing", "constant2.5")]
    net.node("Add", summed, "sum")
    net.last = net.node("Add", ["sum", net.conv("constant-2.5", "of.negative.conv")], "total")
    net.last = net.conv(net.last, "after")
    _compare(net.finished(), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", [1e-45, 1e-30, 1e30, 3e38])
def test_steps_of_extreme_ranges_are_finite_and_not_zero(target: Target, size: float) -> None:
    for limits in (Range(-size, size), Range(0.0, size), Range(-size, 0.0), Range(size, size)):
        step, zero_point = scale_of(limits, target)
        assert 0 < np.float32(step) < np.inf
        assert 0 <= zero_point <= 255


def _compare(graph: GraphIndex, target: Target, include: tuple[str, ...] = ()) -> None:
    """Quantize, run, and compare with fp32: within a twentieth of the map's spread."""
    tensors = activations(graph, IMAGES)
    zero = frozenset(name for name, values in tensors.items() if not values.any())
    placement = place(graph, target, PlacementOverrides(all_zero=zero, include=include))
    assert placement.weights, "nothing is int8, so nothing is tested"
    model = quantize(graph, placement, ranges_of(tensors))
    onnx.checker.check_model(model, full_check=True)
    with GraphEngine(model, MANIFEST, target) as engine:
        prediction = engine.infer(IMAGES)
    fp32 = tensors["anomaly_map"]
    assert np.abs(prediction.maps - fp32).max() < 0.05 * np.ptp(fp32)
