"""Q/DQ: the int8 graph that is written for a placement."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_ad.calibration.quantize.placement import Placement, place
from edge_ad.calibration.quantize.qdq import quantize, scale_of
from edge_ad.calibration.quantize.rules import PlacementOverrides
from edge_ad.calibration.ranges.graph_engine import GraphEngine
from edge_ad.calibration.ranges.target import TARGETS, Range, Target
from edge_ad.export.fp16.convert import mixed_from_fp32
from edge_ad.onnx_graph.index import GraphIndex, load_graph
from tests.calibration.int8_models import SIZE, Tiny


@pytest.fixture
def graph(tmp_path: Path) -> GraphIndex:
    return load_graph(Tiny().save(tmp_path / "tiny.onnx"))


def _rules(placement: Placement) -> dict[str, tuple[bool, str]]:
    return {item.node: (item.int8, item.rule) for item in placement.decisions}


def _quantized(graph: GraphIndex, placement: Placement) -> onnx.ModelProto:
    positive = ("relu", "pooled", "joined", "block_out")
    lows = {tensor: 0.0 if tensor.endswith(positive) else -1.0 for tensor in placement.tensors}
    return quantize(graph, placement, {name: Range(low, 4.0) for name, low in lows.items()})


def test_transposed_convolutions_are_dequantized_along_their_output_channels(
    tmp_path: Path,
) -> None:
    tiny = Tiny()
    tiny.constant("net.up.0.weight", np.random.default_rng(0).normal(size=(16, 24, 2, 2)))
    tiny.constant("net.after.0.weight", np.random.default_rng(0).normal(size=(16, 24, 3, 3)))
    tiny.node("ConvTranspose", ["pooled", "net.up.0.weight"], "up")
    tiny.node("Conv", ["up", "net.after.0.weight"], "after")
    graph = load_graph(tiny.save(tmp_path / "up.onnx"))
    overrides = PlacementOverrides(include=("after",))
    model = _quantized(graph, place(graph, "tensorrt", overrides))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert stored["net.up.0.weight.scale"].shape == (24,)
    (back,) = (n for n in model.graph.node if n.output[0] == "net.up.0.weight.dequantized")
    assert [a.i for a in back.attribute if a.name == "axis"] == [1]
    reason = _rules(place(graph, "onnxruntime", overrides))["node_up"][1]
    assert reason == "no int8 ConvTranspose in ONNX Runtime"


def test_tensorrt_gets_signed_symmetric_activations_and_float_biases(
    graph: GraphIndex,
) -> None:
    model = _quantized(graph, place(graph, "tensorrt"))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    points = [value for name, value in stored.items() if name.endswith(".zero_point")]
    assert points and all(value.dtype == np.int8 and not value.any() for value in points)
    assert stored["net.merge.0.bias"].dtype == np.float32


def test_onnxruntime_gets_unsigned_activations_and_int32_biases(graph: GraphIndex) -> None:
    model = _quantized(graph, place(graph, "onnxruntime"))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert stored["joined.zero_point"].dtype == np.uint8
    assert stored["net.merge.0.bias.quantized"].dtype == np.int32
    product = stored["joined.scale"] * stored["net.merge.0.weight.scale"]
    np.testing.assert_allclose(stored["net.merge.0.bias.scale"], product, rtol=1e-6)


@pytest.mark.parametrize(
    ("limits", "target", "scale", "zero_point"),
    [
        (Range(-1.0, 0.5), "tensorrt", 1 / 127, 0),
        (Range(0.0, 2.0), "tensorrt", 2 / 127, 0),
        (Range(0.0, 2.55), "onnxruntime", 0.01, 0),
        (Range(-2.55, 0.0), "onnxruntime", 0.01, 255),
        (Range(0.5, 2.55), "onnxruntime", 0.01, 0),
        (Range(-1.0, 1.55), "onnxruntime", 0.01, 100),
    ],
)
def test_zero_is_exact_in_every_scale(
    limits: Range, target: Target, scale: float, zero_point: int
) -> None:
    result = scale_of(limits, target)
    assert result.scale == pytest.approx(scale)
    assert result.zero_point == zero_point


def test_onnxruntime_fuses_the_whole_trunk_into_integer_kernels(
    graph: GraphIndex, tmp_path: Path
) -> None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    model = _quantized(graph, place(graph, "onnxruntime"))
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx")
    kinds = Counter(node.op_type for node in optimized.graph.node)
    assert kinds["QLinearConv"] == 4
    assert kinds["QLinearAdd"] == kinds["QLinearConcat"] == 1
    assert kinds["Conv"] + kinds["FusedConv"] == 1  # the head


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("batch", [1, 3, None])
def test_maps_of_an_int8_graph_are_close_to_those_of_fp32(
    tmp_path: Path, target: Target, batch: int | None
) -> None:
    graph = load_graph(Tiny(batch=batch).save(tmp_path / "tiny.onnx"))
    model = _quantized(graph, place(graph, target))
    images = np.random.default_rng(0).integers(0, 255, (4, SIZE, SIZE, 3), dtype=np.uint8)
    with GraphEngine(graph.model, graph.manifest, target) as engine:
        expected = engine.infer(images)
    with GraphEngine(model, graph.manifest, target) as engine:
        result = engine.infer(images)
    assert result.maps.shape == (4, SIZE, SIZE)
    error = np.abs(result.maps - expected.maps).max()
    assert 0 < error < 0.1 * np.ptp(expected.maps) + 0.02


def test_everything_that_is_not_int8_can_be_fp16(graph: GraphIndex) -> None:
    images = np.random.default_rng(0).integers(0, 255, (4, SIZE, SIZE, 3), dtype=np.uint8)
    fp16_model = mixed_from_fp32(graph.model, images, graph.manifest).model
    placement = place(graph, "tensorrt")
    ranges = dict.fromkeys(placement.tensors, Range(-1.0, 4.0))
    models = [quantize(graph, placement, ranges, base) for base in (None, fp16_model)]
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in models[1].graph.initializer}
    kinds = {value.dtype for name, value in stored.items() if name.endswith(".scale")}
    assert kinds == {np.dtype(np.float16)}
    for model in models:
        onnx.checker.check_model(model, full_check=True)
        quantized = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
        assert len(quantized) == len(placement.tensors)
    maps = []
    for model in models:
        with GraphEngine(model, graph.manifest, "tensorrt") as engine:
            maps.append(engine.infer(images).maps)
    assert 0 < np.abs(maps[0] - maps[1]).max() < 0.02


def test_weights_stored_in_8_bits_are_multiplied_out_before_calibration(tmp_path: Path) -> None:
    tiny = Tiny()
    weight = tiny.constants.pop("net.merge.0.weight")
    step = np.abs(weight).max() / 127
    tiny.constant("whole", np.rint(weight / step), np.int8)
    tiny.constant("step", step)
    tiny.nodes.insert(0, helper.make_node("Cast", ["whole"], ["cast"], to=TensorProto.FLOAT))
    tiny.nodes.insert(1, helper.make_node("Mul", ["cast", "step"], ["net.merge.0.weight"]))
    graph = load_graph(tiny.save(tmp_path / "stored.onnx"))
    assert _rules(place(graph, "tensorrt"))["node_merged"][0]
    folded = graph.weight_of(graph.nodes["node_merged"])
    assert folded is not None
    np.testing.assert_allclose(folded, weight, atol=step)
