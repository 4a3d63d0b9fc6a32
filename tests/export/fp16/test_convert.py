"""Conversion to fp16: which nodes stay in fp32, and the resulting typed graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto

from edge_ad.errors import IncompatibleError
from edge_ad.export.comparison_frames import generated_frames
from edge_ad.export.fp16.convert import MixedPrecision, mixed_from_fp32
from edge_ad.export.fp16.ranges import measure
from edge_ad.export.fp16.rewrite import to_fp16
from edge_ad.export.fp16.rounding import rounded_as_stored
from edge_ad.export.fp16.rules import fp16_support
from edge_ad.export.parity import TOLERANCE, compare
from edge_ad.onnx_graph.index import GraphIndex, infer_types
from edge_ad.onnx_graph.simplify import flattened
from tests.export.graphs import HW, MANIFEST, constant, drawn, infer, operators

FRAMES = generated_frames(HW, 6)
RELU = "z = Relu (c)"
# DeSTSeg as its authors wrote it: a feature over its length plus 1e-12, which fp16 rounds to zero
UNIT = (
    "r = Relu (c) square = Mul (r, r) sum = ReduceSum (square, axis) length = Sqrt (sum) "
    "safe = Add (length, tiny) z = Div (r, safe)"
)


def mixed(middle: str, **options: float) -> MixedPrecision:
    result = mixed_from_fp32(drawn(middle, **options), FRAMES, MANIFEST)
    onnx.checker.check_model(result.model, full_check=True)
    return result


def kept(result: MixedPrecision) -> dict[str, str]:
    """Return, by output tensor, why a node stays in fp32."""
    return {name.split(":")[-1]: why for why, names in result.kept.items() for name in names}


@pytest.mark.parametrize(
    ("middle", "stays"),
    [
        pytest.param(RELU, [], id="a layer and its activation change"),
        pytest.param(UNIT, ["square", "sum", "length", "safe", "z"], id="a norm stays"),
        pytest.param(
            "p = Sigmoid (c) a = Exp (p) z = Conv (a, k)", ["a"], id="an exponential stays"
        ),
        pytest.param("a = Softmax <axis = 1> (c) z = Conv (a, k)", ["a"], id="a softmax stays"),
        pytest.param(
            "a = Softmax <axis = 1> (c) b = Abs (a) d = Neg (b) z = Conv (d, k)",
            ["a", "b", "d"],
            id="elementwise steps behind such a node stay",
        ),
        pytest.param(
            "a = Softmax <axis = 1> (c) b = Add (a, c) z = Conv (b, k)",
            ["a"],
            id="a sum of two computed tensors behind one changes",
        ),
        pytest.param("r = Relu (c) z = Sub (r, one)", ["z"], id="a difference stays"),
        pytest.param("r = Relu (c) z = Div (r, one)", [], id="a quotient by a constant changes"),
        pytest.param("r = Relu (c) z = Add (r, c)", [], id="a residual sum changes"),
        pytest.param("a = Exp (c) b = Relu (a) z = Log (b)", ["a", "b", "z"], id="a gap closes"),
        pytest.param(
            "a = Softmax (c) d = Conv (a, k) z = Softmax (d)", ["a", "z"], id="no gap at a layer"
        ),
        pytest.param(
            "r = Relu (c) a = Conv (r, to_image) p = Sigmoid (a) b = Concat <axis = 1> "
            "(p, planes) d = Conv (b, from_two) z = Conv (d, k)",
            ["a", "p", "b", "d"],
            id="a restoration stays, and the layer that sees it beside the image",
        ),
    ],
)
def test_structure_decides_first(middle: str, stays: list[str]) -> None:
    within = kept(mixed(middle))
    outside = {"pixels", "planes", "f", "last", "anomaly_map", "anomaly_score"}
    assert sorted(within.keys() - outside) == sorted(stays)
    assert outside <= within.keys()


@pytest.mark.parametrize("middle", [RELU, UNIT])
def test_inputs_and_outputs_keep_their_types(middle: str) -> None:
    graph = GraphIndex(mixed(middle).model, MANIFEST)
    types = graph.tensor_types.types
    assert types["image"] == TensorProto.UINT8
    assert {types[name] for name in graph.outputs} == {TensorProto.FLOAT}
    assert [node.op_type for node in graph.consumers_of("image")] == ["Cast"]


def test_weights_change_in_place_and_casts_stand_at_the_borders() -> None:
    model = mixed(RELU).model
    assert constant(model, "k.fp16").dtype == np.float16
    assert constant(model, "w").dtype == np.float32  # the first layer, which sees the image
    assert constant(model, "v").dtype == np.float32  # the last layer
    assert operators(model).count("Cast") == 3  # pixels, after the first layer, into the last


def test_fp32_does_not_spread_through_the_shortcuts_of_blocks() -> None:
    model = drawn("r = Relu (c) d = Conv (r, k) s = Add (d, r) z = Relu (s)")
    model.graph.node[-3].CopyFrom(onnx.parser.parse_node("last = ReduceMean (z, axis)"))
    result = kept(mixed_from_fp32(model, FRAMES, MANIFEST))
    assert "last" in result
    assert not {"r", "d", "s", "z"} & result.keys()


@pytest.mark.parametrize(
    ("middle", "layers", "stay"),
    [
        ("z = Conv (c, k)", {"z"}, True),
        ("a = Conv (c, k) b = Conv (f, k) z = Add (a, b)", {"a", "b"}, False),
    ],
    ids=["one", "several"],
)
def test_the_last_layer_stays_in_fp32_if_it_is_the_only_one(
    middle: str, layers: set[str], *, stay: bool
) -> None:
    model = drawn(middle)
    model.graph.node[-3].CopyFrom(onnx.parser.parse_node("last = ReduceMean (z, axis)"))
    result = kept(mixed_from_fp32(model, FRAMES, MANIFEST))
    assert (layers <= result.keys()) is stay and (stay or not layers & result.keys())


def test_a_tensor_read_in_both_precisions_is_cast_once() -> None:
    model = mixed("r = Relu (c) a = Exp (r) b = Exp (r) d = Add (a, b) z = Relu (d)").model
    casts = [node.input[0] for node in model.graph.node if node.op_type == "Cast"]
    assert casts.count("r") == 1


def test_zero_over_zero_of_destseg_stays_finite(tmp_path: Path) -> None:
    graph = GraphIndex(flattened(drawn(UNIT)), MANIFEST)
    exact = infer(drawn(UNIT), FRAMES, tmp_path)
    ends = {node.name for node in graph.nodes.values() if node.op_type in ("Conv", "Squeeze")}
    naive = rounded_as_stored(to_fp16(graph, ends))
    assert np.isnan(infer(naive, FRAMES[:1], tmp_path).maps).any()  # the black frame
    safe = infer(rounded_as_stored(mixed(UNIT).model), FRAMES, tmp_path)
    assert np.isfinite(safe.maps).all()
    assert compare(exact, safe).within(TOLERANCE["fp16"])


def test_a_constant_that_would_vanish_is_pulled_back() -> None:
    assert "values too small for fp16" in kept(mixed("r = Relu (c) z = Mul (r, tiny)"))["z"]


def test_values_beyond_the_range_are_pulled_back_at_both_ends(tmp_path: Path) -> None:
    middle = "big = Mul (c, large) r = Relu (big) z = Relu (r)"
    result, exact = mixed(middle), infer(drawn(middle), FRAMES, tmp_path)
    assert kept(result)["big"].startswith(("big: values up to", "large: values up to"))
    assert {"big", "r", "z"} <= kept(result).keys()
    stored = infer(rounded_as_stored(result.model), FRAMES, tmp_path)
    assert compare(exact, stored).within(TOLERANCE["fp16"])


def test_values_below_the_range_are_pulled_back() -> None:
    why = kept(mixed(RELU, weight=1e-10))
    assert why["c"].startswith(("f: values too small", "k: values too small"))


def test_losses_are_measured_over_all_frames() -> None:
    losses = measure(GraphIndex(drawn(RELU), MANIFEST), ["pixels", "c"], FRAMES)
    assert losses["pixels"].largest == 255
    assert losses["pixels"].share == 0  # whole numbers below 2048 are exact in fp16
    assert 1e-5 < losses["c"].share < 5e-4
    other_order = measure(GraphIndex(drawn(RELU), MANIFEST), ["c"], FRAMES[::-1].copy())
    assert other_order["c"].largest == losses["c"].largest
    assert other_order["c"].share == pytest.approx(losses["c"].share, rel=1e-4)


def test_rounding_matches_numpy(tmp_path: Path) -> None:
    typed = mixed(RELU).model
    first, second = (constant(typed, name)[:, :, 0, 0] for name in ("w", "k.fp16"))
    hidden = np.einsum("oc,nhwc->nohw", first, FRAMES[:1].astype(np.float32))
    stored = hidden.astype(np.float16).astype(np.float32)
    layer = np.einsum("oc,nchw->nohw", second.astype(np.float32), stored)
    layer = layer.astype(np.float16).astype(np.float32)
    last = constant(typed, "v")[0, :, 0, 0]
    expected = np.einsum("c,nchw->nhw", last, np.maximum(layer, 0))
    result = infer(rounded_as_stored(typed), FRAMES[:1], tmp_path)
    np.testing.assert_allclose(result.maps, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "inputs", "outputs"),
    [
        pytest.param("y = Conv (a, b)", [True, True], [True], id="a layer"),
        pytest.param("y = Resize (a, , , d)", [True, True, False, False], [True], id="sizes"),
        pytest.param("y = Resize (a, , s)", [True, True, False], [True], id="scales are fp32"),
        pytest.param("y = TopK (a, d)", [True, False], [True], id="a count stays a count"),
        pytest.param("y = Concat <axis = 0> (a, b, a)", [True] * 3, [True], id="any number"),
    ],
)
def test_onnx_schemas_decide_what_may_be_fp16(
    text: str, inputs: list[bool], outputs: list[bool]
) -> None:
    node = onnx.parser.parse_node(text)
    assert fp16_support(node, {"": 18}) == (inputs, outputs)


def test_a_graph_without_layers_stays_unchanged() -> None:
    """It contains no layer, so there is nothing to cast and nothing to measure."""
    model = drawn_without_layers()
    mixed = mixed_from_fp32(model, generated_frames(HW, 3), MANIFEST)
    assert sum(len(names) for names in mixed.kept.values()) == mixed.nodes
    assert operators(mixed.model) == operators(model)


def drawn_without_layers() -> onnx.ModelProto:
    height, width = HW
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]>
        pixels (uint8[1,{height},{width},3] image)
        => (float[1,{height},{width}] anomaly_map, float[1] anomaly_score)
        <int64[1] last = {{3}}, int64[2] sides = {{1, 2}}>
        {{
            p = Cast <to = 1> (image)
            anomaly_map = ReduceMax <keepdims = 0> (p, last)
            anomaly_score = ReduceMax <keepdims = 0> (anomaly_map, sides)
        }}"""
    )
    return model


def test_an_unknown_operator_stays_in_fp32() -> None:
    node = onnx.helper.make_node("Strange", ["a"], ["y"], domain="example")
    assert fp16_support(node, {"": 18, "example": 1}) is None


def test_constants_become_named_and_functions_become_nodes() -> None:
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 18, "own" : 1]>
        agraph (float[4] x) => (float[4] y) {
            two = Constant <value = float {2.0}> ()
            y = own.twice (x, two)
        }
        <domain: "own", opset_import: ["" : 18]>
        twice (a, b) => (c) { c = Mul (a, b) }
        """
    )
    flat = flattened(model)
    assert operators(flat) == ["Mul"]
    assert [tensor.name for tensor in flat.graph.initializer] == ["two"]


def test_a_graph_with_branches_is_refused() -> None:
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 18]>
        agraph (bool c, float[4] x) => (float[4] y) {
            y = If (c) <then_branch = a () => (float[4] p) { p = Relu (x) },
                        else_branch = b () => (float[4] q) { q = Neg (x) }>
        }
        """
    )
    with pytest.raises(IncompatibleError, match="contains a subgraph"):
        flattened(model)


def test_a_graph_that_contradicts_itself_is_refused() -> None:
    model = drawn(RELU)
    model.graph.node[2].op_type = "MatMul"
    with pytest.raises(IncompatibleError, match="contradicts itself"):
        infer_types(model)
