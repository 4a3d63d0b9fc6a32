"""What TensorRT-RTX, which builds without a card, makes of the TensorRT runtime."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edge_ad.calibration.quantize.compiled_layers import compiled, layers_of
from edge_ad.calibration.quantize.placement import Placement, PlacementOverrides, place
from edge_ad.calibration.quantize.qdq import Range, quantize
from edge_ad.onnx_graph.index import GraphIndex, load_graph
from tests.calibration.int8_models import Tiny

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")


def _built(
    tmp_path: Path, tiny: Tiny, wanted: PlacementOverrides | None = None
) -> tuple[GraphIndex, Placement, Path]:
    graph = load_graph(tiny.save(tmp_path / "fp32.onnx"))
    placement = place(graph, "tensorrt", wanted)
    model = quantize(graph, placement, dict.fromkeys(placement.tensors, Range(-1.0, 4.0)))
    onnx.save(model, tmp_path / "int8.onnx")
    return graph, placement, tmp_path / "int8.onnx"


def test_every_convolution_the_rules_chose_multiplies_in_int8(tmp_path: Path) -> None:
    _, placement, path = _built(tmp_path, Tiny(channels=32))
    found = compiled(path, placement)
    assert found is not None
    assert found["layers"]["correlation int8"] == len(placement.weights) == 3
    assert found["float_convolutions"] == {
        "node_stem": "fewer than 16 channels: padded int8 is no faster",
        "node_logits": "last layer: its rounding would be the map's",
    }


def test_a_residual_add_and_its_relu_become_one_layer(tmp_path: Path) -> None:
    _, _, path = _built(tmp_path, Tiny(channels=32))
    (fused,) = (one for one in layers_of(path) if "node_block_sum" in one.origin)
    assert "node_block_out" in fused.origin


def test_a_block_returned_to_float_is_float_in_the_plan(tmp_path: Path) -> None:
    wanted = PlacementOverrides(float_blocks=frozenset({"net.block"}))
    _, placement, path = _built(tmp_path, Tiny(channels=32), wanted)
    found = compiled(path, placement)
    assert found is not None
    assert found["layers"]["correlation int8"] == 1
    assert found["float_convolutions"]["node_block_a"] == "returned to float to pass the gate"


def test_a_batch_of_four_builds_too(tmp_path: Path) -> None:
    _, _, path = _built(tmp_path, Tiny(channels=32, batch=4))
    assert any(layer.int8 for layer in layers_of(path))
