"""Products before the upsampling: the same results, from fewer pixels, where that saves time."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_ad.calibration.quantize.placement import place, to_quantize
from edge_ad.calibration.quantize.qdq import quantize
from edge_ad.calibration.ranges.target import Range
from edge_ad.manifest import Manifest, Score
from edge_ad.onnx_graph.index import GraphIndex
from edge_ad.onnx_graph.upsampling import products_before_upsampling

ort = pytest.importorskip("onnxruntime")
MANIFEST = Manifest(method="draem", size_hw=(8, 8), score=Score())
LINEAR = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}


def _graph(
    resize: dict[str, Any] = LINEAR,
    conv: dict[str, Any] | None = None,
    *,
    channels: int = 256,
    sides: tuple[int, int] = (5, 7),
    kernel: tuple[int, int] = (3, 3),
    bias: bool = True,
    readers: int = 1,
    scales: tuple[float, ...] = (1, 1, 2, 2),
) -> GraphIndex:
    """Return upsampling, convolution, Relu and a last convolution, of seeded weights."""
    rng = np.random.default_rng(0)
    weights = {
        "net.up.0.weight": rng.normal(size=(4, channels, *kernel)) / 48,
        "net.up.0.bias": rng.normal(size=4),
        "net.out.weight": rng.normal(size=(1, 4, 1, 1)),
        "scales": np.array(scales),
    }
    conv = {"pads": [1, 1, 1, 1], **(conv or {})}
    names = ["large", "net.up.0.weight", *(["net.up.0.bias"] if bias else [])]
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["large"], name="resize", **resize),
        helper.make_node("Conv", names, ["up"], name="conv", **conv),
        helper.make_node("Relu", ["up"], ["relu"], name="relu"),
        helper.make_node("Conv", ["relu", "net.out.weight"], ["y"], name="out"),
    ]
    extra = [f"large{number}" for number in range(1, readers)]
    nodes += [helper.make_node("Abs", ["large"], [name], name=name) for name in extra]
    tensor = onnx.TensorProto.FLOAT
    x = helper.make_tensor_value_info("x", tensor, ["N", channels, *sides])
    outputs = [helper.make_tensor_value_info(name, tensor, list("NCHW")) for name in ("y", *extra)]
    constants = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()]
    graph = helper.make_graph(nodes, "up", [x], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return GraphIndex(model, MANIFEST)


def _run(model: onnx.ModelProto, sides: tuple[int, int] = (5, 7), channels: int = 256) -> Any:
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(2, channels, *sides)).astype(np.float32)
    return session.run(["y"], {"x": x})[0]


@pytest.mark.parametrize(
    ("resize", "options"),
    [
        (LINEAR, {}),
        ({"mode": "linear", "coordinate_transformation_mode": "half_pixel"}, {}),
        ({"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}, {}),
        ({"mode": "linear"}, {"bias": False}),
        ({"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
          "nearest_mode": "floor"}, {}),
        (LINEAR, {"conv": {"pads": [0, 2, 1, 0]}, "kernel": (3, 5)}),
        (LINEAR, {"conv": {"pads": [0, 0, 0, 0]}}),
    ],
)  # fmt: skip
def test_the_rewritten_graph_computes_the_same_for_every_image_of_a_batch(
    resize: dict[str, Any], options: dict[str, Any]
) -> None:
    graph = _graph(resize, **options)
    rewritten = products_before_upsampling(graph)
    before, after = _run(graph.model), _run(rewritten.model)
    assert "resize" not in rewritten.nodes and before.shape == after.shape
    np.testing.assert_allclose(after, before, atol=2e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"channels": 192},
        {"sides": (4, 17)},
        {"kernel": (1, 1), "conv": {"pads": [0, 0, 0, 0]}},
        {"conv": {"strides": [2, 2]}},
        {"conv": {"dilations": [2, 2]}},
        {"conv": {"auto_pad": "SAME_UPPER", "pads": None}},
        {"resize": {"mode": "cubic"}},
        {"readers": 2},
        {"scales": (1, 1, 2, 1)},
        {"scales": (1, 1, 3, 3)},
    ],
)
def test_what_gains_nothing_or_is_not_understood_stays_as_it_is(options: dict[str, Any]) -> None:
    conv = options.get("conv", {})
    if conv.get("pads", 0) is None:
        options = {**options, "conv": {"auto_pad": conv["auto_pad"], "pads": [0, 0, 0, 0]}}
    graph = _graph(**options)
    assert products_before_upsampling(graph) is graph


def test_only_the_products_become_int8_and_interpolation_stays_float() -> None:
    graph = to_quantize(_graph(), "onnxruntime")
    placement = place(graph, "onnxruntime")
    rules = {d.node: d.rule for d in placement.decisions if d.op == "MatMul"}
    assert len(rules) == 2 and set(rules.values()) == {"interpolation stays float"}
    assert [d.node for d in placement.decisions if d.op == "Conv" and d.int8] == ["conv"]
    assert placement.blocks == ("net.up",)


def test_int8_of_the_rewritten_graph_is_near_fp32() -> None:
    graph = to_quantize(_graph(), "onnxruntime")
    placement = place(graph, "onnxruntime")
    ranges = {name: Range(-5.0, 5.0) for name in placement.tensors}
    exact, int8 = _run(graph.model), _run(quantize(graph, placement, ranges))
    assert 0 < np.abs(int8 - exact).mean() < 0.03 * np.abs(exact).max()


def test_tensorrt_gets_the_graph_as_it_was_exported() -> None:
    graph = _graph()
    assert to_quantize(graph, "tensorrt") is graph
