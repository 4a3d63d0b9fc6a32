"""Placement: which nodes become int8 by which rule, and the graph that is then written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edge_ad.calibration.quantize.placement import Placement, channel_axis, place
from edge_ad.calibration.quantize.qdq import quantize
from edge_ad.calibration.quantize.rules import PlacementOverrides
from edge_ad.calibration.ranges.graph_engine import GraphEngine
from edge_ad.calibration.ranges.target import TARGETS, Range, Target
from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.onnx_graph.index import Edge, GraphIndex, load_graph
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


@pytest.mark.parametrize("target", TARGETS)
def test_every_node_has_one_decision_with_a_rule(graph: GraphIndex, target: Target) -> None:
    decisions = place(graph, target).decisions
    assert sorted(decision.node for decision in decisions) == sorted(graph.nodes)
    assert all(decision.rule for decision in decisions)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("node", "kind", "rule"),
    [
        ("node_merged", "int8", "constant weights"),
        ("node_block_a", "int8", "constant weights"),
        ("node_logits", "float", "last layer"),
        ("node_probability", "float", "heads"),
        ("node_centred", "float", "differences"),
        ("node_scaled", "float", "norms"),
        ("node_merged_relu", "int8", "follows"),
    ],
)
def test_trunks_become_int8_and_heads_norms_and_differences_do_not(
    graph: GraphIndex, target: Target, node: str, kind: str, rule: str
) -> None:
    int8, why = _rules(place(graph, target))[node]
    assert ("int8" if int8 else "float") == kind
    assert rule in why


def test_thin_convolutions_stay_float_for_tensorrt_only(graph: GraphIndex) -> None:
    assert "fewer than 16 channels" in _rules(place(graph, "tensorrt"))["node_stem"][1]
    assert _rules(place(graph, "onnxruntime"))["node_stem"][0]


@pytest.mark.parametrize(
    ("filters", "channels", "groups", "int8"),
    [(3, 1, 3, False), (1, 1, 1, False), (16, 1, 16, True), (3, 2, 1, True), (16, 1, 1, True)],
)
def test_a_few_filters_of_one_channel_stay_float_for_onnxruntime(
    filters: int, channels: int, groups: int, *, int8: bool, tmp_path: Path
) -> None:
    tiny = Tiny()
    weight = tiny.constant("edges", np.ones((filters, channels, 3, 3)))
    tiny.constant("image3", np.ones((1, groups * channels, 8, 8)))
    source = tiny.node("Relu", ["image3"], "edges_in")
    tiny.node("Conv", [source, weight], "gradient", group=groups, pads=[1, 1, 1, 1])
    tiny.node("ReduceMax", ["gradient"], "largest", keepdims=0)
    tail = tiny.conv("after.0.weight", "gradient", filters, 16, "after")
    tiny.node("Relu", [tail], "after_relu")
    tiny.conv("last.0.weight", "after_relu", 16, 1, "last")
    graph = load_graph(tiny.save(tmp_path / "edges.onnx"))
    decided, rule = _rules(place(graph, "onnxruntime"))["node_gradient"]
    assert decided == int8
    assert int8 or "slower in int8" in rule


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_that_edge_filters_read_is_not_rounded(tmp_path: Path, target: Target) -> None:
    tiny = Tiny()
    tiny.constant("features", np.ones((1, 16, 8, 8)))
    source = tiny.node("Relu", ["features"], "features_in")
    inner = tiny.node("Relu", [tiny.conv("a.0.weight", source, 16, 16, "inner")], "inner_relu")
    restored = tiny.conv("b.0.weight", inner, 16, 3, "restored")
    edges = tiny.constant("edges", np.ones((3, 1, 3, 3)))
    tiny.node("Conv", [restored, edges], "gradient", group=3, pads=[1, 1, 1, 1])
    tiny.node("ReduceMax", ["gradient"], "largest", keepdims=0)
    placement = place(load_graph(tiny.save(tmp_path / "restored.onnx")), target)
    rules = _rules(placement)
    assert rules["node_inner"][0]
    assert rules["node_restored"][1].startswith("last layer")
    assert "restored" not in placement.tensors


@pytest.mark.parametrize("largest", [6.0, 2.5])
def test_a_clip_fuses_into_the_convolution_before_it(tmp_path: Path, largest: float) -> None:
    tiny = Tiny()
    tiny.constant("features", np.ones((1, 16, 8, 8)))
    tiny.constant("low", np.array(0.0))
    tiny.constant("high", np.array(6.0))
    source = tiny.node("Relu", ["features"], "features_in")
    wide = tiny.conv("a.0.weight", source, 16, 32, "wide")
    relu6 = tiny.node("Clip", [wide, "low", "high"], "relu6")
    tiny.conv("c.0.weight", tiny.conv("b.0.weight", relu6, 32, 16, "narrow"), 16, 1, "last")
    graph = load_graph(tiny.save(tmp_path / "relu6.onnx"))
    placement = place(graph, "onnxruntime")
    assert "relu6" in placement.tensors and "wide" not in placement.tensors
    ranges = {name: Range(0.0 if name == "relu6" else -1.0, largest) for name in placement.tensors}
    onnx.save(quantize(graph, placement, ranges), tmp_path / "int8.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(tmp_path / "int8.onnx", options)
    fused = onnx.load(tmp_path / "fused.onnx").graph.node
    behind = next(node for node in fused if "b.0.weight" in "".join(node.input))
    before = next(node for node in fused if behind.input[0] in node.output)
    assert (before.op_type, behind.op_type) == ("QLinearConv", "QLinearConv")


def test_only_the_skip_input_of_a_residual_add_is_quantized_for_tensorrt(
    graph: GraphIndex,
) -> None:
    placement = place(graph, "tensorrt")
    assert graph.nodes["node_block_sum"].input[0] == "block_b"
    assert Edge("node_block_sum", 1) in placement.edges
    assert Edge("node_block_sum", 0) not in placement.edges


def test_of_two_convolutions_before_an_add_the_deeper_one_fuses(tmp_path: Path) -> None:
    tiny = Tiny()
    skip = tiny.conv("net.block.downsample.0.weight", "pooled", 16, 16, "shortcut", side=1)
    add = next(node for node in tiny.nodes if node.op_type == "Add")
    add.input[1] = skip
    tiny.nodes.insert(tiny.nodes.index(add), tiny.nodes.pop())
    placement = place(load_graph(tiny.save(tmp_path / "two.onnx")), "tensorrt")
    assert Edge("node_block_sum", 1) in placement.edges
    assert Edge("node_block_sum", 0) not in placement.edges
    assert placement.blocks.count("net.block") == 1  # a shortcut belongs to its block


def test_onnxruntime_gets_both_inputs_and_the_output_of_a_residual_add(
    graph: GraphIndex,
) -> None:
    placement = place(graph, "onnxruntime")
    assert {Edge("node_block_sum", 0), Edge("node_block_sum", 1)} <= placement.edges
    assert "block_out" in placement.tensors


def test_tensors_around_a_concatenation_share_one_range(graph: GraphIndex) -> None:
    (group,) = (tensors for tensors in place(graph, "onnxruntime").groups if "joined" in tensors)
    assert {"joined", "pooled", "block_out"} <= group


@pytest.mark.parametrize("target", TARGETS)
def test_excluded_nodes_stay_float_and_included_ones_do_not(
    graph: GraphIndex, target: Target
) -> None:
    overrides = PlacementOverrides(exclude=(r"net\.block\.",), include=("node_logits",))
    placement = place(graph, target, overrides)
    rules = _rules(placement)
    assert rules["node_block_a"] == (False, "excluded by the user")
    assert rules["node_logits"][0]
    assert "net.block" not in placement.blocks
    assert place(graph, target, PlacementOverrides(exclude=("Conv",))).weights == {}


@pytest.mark.parametrize(
    ("pattern", "message"), [("nothing.*here", "matches no node"), ("(", "regular")]
)
def test_an_invalid_pattern_is_refused(graph: GraphIndex, pattern: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        place(graph, "tensorrt", PlacementOverrides(exclude=(pattern,)))


@pytest.mark.parametrize("target", TARGETS)
def test_tensors_that_were_always_zero_are_not_quantized(graph: GraphIndex, target: Target) -> None:
    placement = place(graph, target, PlacementOverrides(all_zero=frozenset({"block_a_relu"})))
    assert "block_a_relu" not in placement.tensors
    assert "zero on every image" in _rules(placement)["node_block_b"][1]
    _quantized(graph, placement)


@pytest.mark.parametrize(
    ("op", "attributes", "axis"),
    [
        ("Conv", {}, 0),
        ("ConvTranspose", {}, 1),
        ("MatMul", {}, 1),
        ("Gemm", {}, 1),
        ("Gemm", {"transB": 1}, 0),
    ],
)
def test_weights_have_one_step_an_output_channel(
    op: str, attributes: dict[str, Any], axis: int
) -> None:
    node = helper.make_node(op, ["x", "w"], ["y"], **attributes)
    assert channel_axis(node) == axis


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("shape", "rule"), [((16, 24), "constant weights"), ((16, 16, 24), "stacked matrices")]
)
def test_products_are_int8_with_one_matrix_and_float_with_a_stack(
    tmp_path: Path, target: Target, shape: tuple[int, ...], rule: str
) -> None:
    tiny = Tiny()
    rng = np.random.default_rng(0)
    tiny.constant("net.mix.0.weight", rng.normal(size=shape))
    tiny.constant("net.last.0.weight", rng.normal(size=(24, 16)))
    tiny.node("MatMul", ["pooled", "net.mix.0.weight"], "mixed")
    tiny.node("MatMul", ["mixed", "net.last.0.weight"], "after")
    graph = load_graph(tiny.save(tmp_path / "mix.onnx"))
    placement = place(graph, target)
    assert rule in _rules(placement)["node_mixed"][1]
    with GraphEngine(_quantized(graph, placement), graph.manifest, target) as engine:
        assert np.isfinite(engine.infer(np.zeros((1, SIZE, SIZE, 3), np.uint8)).maps).all()


def _unsuitable(path: Path, change: str) -> Path:
    """Write a tiny engine that cannot be calibrated."""
    tiny = Tiny()
    model = tiny.model()
    if change == "quantized":
        graph = GraphIndex(model, load_graph(tiny.save(path)).manifest, "", "x")
        model = _quantized(graph, place(graph, "tensorrt"))
    elif change == "fp16":
        half = numpy_helper.from_array(np.ones(3, np.float16), "half")
        model.graph.initializer.append(half)
    elif change == "no manifest":
        del model.metadata_props[:]
    elif change == "open size":
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"
    data = model.SerializeToString()
    path.write_bytes(data[: len(data) // 2] if change == "cut off" else data)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("quantized", "is quantized already"),
        ("fp16", "is fp16 already"),
        ("no manifest", "without edge-ad's manifest"),
        ("open size", "open size .*height"),
        ("cut off", "not readable as ONNX"),
    ],
)
def test_graphs_that_cannot_be_calibrated_are_refused(
    tmp_path: Path, change: str, message: str
) -> None:
    with pytest.raises(IncompatibleError, match=message):
        load_graph(_unsuitable(tmp_path / "bad.onnx", change))


def test_a_missing_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no ONNX file at"):
        load_graph(tmp_path / "none.onnx")
