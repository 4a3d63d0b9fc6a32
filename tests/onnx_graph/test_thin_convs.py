"""Convolutions of few filters: the same results in a form that fills a processor's vectors."""

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
from edge_ad.onnx_graph.thin_convs import VECTOR, fill_vector, products_before_shifts

ort = pytest.importorskip("onnxruntime")
MANIFEST = Manifest(method="draem", size_hw=(8, 8), score=Score())
SAME: dict[str, Any] = {"pads": [1, 1, 1, 1]}


def _graph(
    *,
    filters: int = 3,
    channels: int = 32,
    kernel: tuple[int, int] = (3, 3),
    conv: dict[str, Any] = SAME,
    bias: bool = True,
    relu: bool = False,
) -> GraphIndex:
    """Return a thin convolution, perhaps with a Relu, a wide one and a thin last one."""
    rng = np.random.default_rng(0)
    weights = {
        "net.thin.conv.weight": rng.normal(size=(filters, channels, *kernel)) / 24,
        "net.thin.conv.bias": rng.normal(size=filters),
        "net.wide.conv.weight": rng.normal(size=(channels, filters, 1, 1)),
        "net.out.conv.weight": rng.normal(size=(2, channels, 3, 3)) / 24,
    }
    names = ["size", "net.thin.conv.weight", *(["net.thin.conv.bias"] if bias else [])]
    behind = [helper.make_node("Relu", ["thin"], ["positive"], name="relu")] if relu else []
    nodes = [
        helper.make_node("Abs", ["x"], ["size"], name="abs"),
        helper.make_node("Conv", names, ["thin"], name="conv", **conv),
        *behind,
        helper.make_node(
            "Conv", ["positive" if relu else "thin", "net.wide.conv.weight"], ["wide"], name="wide"
        ),
        helper.make_node("Conv", ["wide", "net.out.conv.weight"], ["y"], name="out", **SAME),
    ]
    tensor = onnx.TensorProto.FLOAT
    x = helper.make_tensor_value_info("x", tensor, ["N", channels, 7, 9])
    y = helper.make_tensor_value_info("y", tensor, list("NCHW"))
    constants = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()]
    graph = helper.make_graph(nodes, "thin", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return GraphIndex(model, MANIFEST)


def _run(model: onnx.ModelProto, channels: int = 32) -> Any:
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(2, channels, 7, 9)).astype(np.float32)
    return session.run(["y"], {"x": x})[0]


@pytest.mark.parametrize("rewrite", [products_before_shifts, fill_vector])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"filters": 1, "channels": 48},
        {"filters": 2, "kernel": (3, 5), "conv": {"pads": [0, 3, 2, 1]}},
        {"kernel": (1, 3), "conv": {}},
        {"conv": {"pads": [2, 0, 0, 1], "strides": [1, 1]}},
    ],
)
def test_the_rewritten_graph_computes_the_same_for_every_image_of_a_batch(
    rewrite: Any, options: dict[str, Any]
) -> None:
    graph, channels = _graph(**options), options.get("channels", 32)
    rewritten = rewrite(graph, ["conv"])
    before, after = _run(graph.model, channels), _run(rewritten.model, channels)
    assert len(rewritten.nodes) > len(graph.nodes) and before.shape == after.shape
    np.testing.assert_allclose(after, before, atol=2e-5)


@pytest.mark.parametrize("rewrite", [products_before_shifts, fill_vector])
@pytest.mark.parametrize(
    "options",
    [
        {"filters": VECTOR},
        {"channels": 31},
        {"kernel": (1, 1), "conv": {}},
        {"conv": {**SAME, "strides": [2, 2]}},
        {"conv": {**SAME, "dilations": [1, 2]}},
        {"conv": {"auto_pad": "SAME_UPPER"}},
    ],
)
def test_what_gains_nothing_or_is_not_understood_stays_as_it_is(
    rewrite: Any, options: dict[str, Any]
) -> None:
    graph = _graph(**options)
    assert rewrite(graph, ["conv"]) is graph


def test_many_taps_are_not_shifted() -> None:
    graph = _graph(filters=4)
    assert products_before_shifts(graph, ["conv"]) is graph


def test_a_relu_stays_beside_its_convolution() -> None:
    graph = _graph(relu=True)
    assert fill_vector(graph, ["conv"]) is graph


def test_int8_layers_are_filled_and_float_ones_shifted() -> None:
    graph = to_quantize(_graph(), "onnxruntime")
    placement = place(graph, "onnxruntime")
    assert {d.node: d.int8 for d in placement.decisions if d.op == "Conv"} == {
        "conv": True, "wide": True, "out": False
    }  # fmt: skip
    weights = {node.name: graph.weight_of(node) for node in graph.nodes.values()}
    shapes = {name: weight.shape for name, weight in weights.items() if weight is not None}
    assert shapes == {"conv": (16, 32, 3, 3), "wide": (32, 3, 1, 1), "out": (18, 32, 1, 1)}
    assert placement.blocks == ("net.thin", "net.wide")


def test_int8_of_the_rewritten_graph_rounds_as_that_of_the_graph_before() -> None:
    """Zeros and another order of float sums change no step of a tensor by more than one."""
    maps = []
    for graph in (_graph(), to_quantize(_graph(), "onnxruntime")):
        placement = place(graph, "onnxruntime")
        ranges = {name: Range(-6.0, 6.0) for name in placement.tensors}
        maps.append(_run(quantize(graph, placement, ranges)))
    np.testing.assert_allclose(maps[1], maps[0], atol=0.02 * np.abs(maps[0]).max())


def test_tensorrt_gets_the_graph_as_it_was_exported() -> None:
    graph = _graph()
    assert to_quantize(graph, "tensorrt") is graph
