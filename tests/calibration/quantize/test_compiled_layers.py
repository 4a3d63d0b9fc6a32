"""TensorRT-RTX, which builds without a GPU, compiles the TensorRT files as placed."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edge_ad.calibration.quantize.compiled_layers import compiled_layers, compiled_report
from edge_ad.calibration.quantize.placement import Placement, place
from edge_ad.calibration.quantize.qdq import quantize
from edge_ad.calibration.quantize.rules import PlacementOverrides
from edge_ad.calibration.ranges.target import Range
from edge_ad.onnx_graph.index import GraphIndex, load_graph
from tests.calibration.int8_models import Tiny

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")


def _build(
    tmp_path: Path, tiny: Tiny, overrides: PlacementOverrides | None = None
) -> tuple[GraphIndex, Placement, Path]:
    graph = load_graph(tiny.save(tmp_path / "fp32.onnx"))
    placement = place(graph, "tensorrt", overrides)
    model = quantize(graph, placement, dict.fromkeys(placement.tensors, Range(-1.0, 4.0)))
    onnx.save(model, tmp_path / "int8.onnx")
    return graph, placement, tmp_path / "int8.onnx"


def test_every_convolution_the_rules_chose_multiplies_in_int8(tmp_path: Path) -> None:
    _, placement, path = _build(tmp_path, Tiny(channels=32))
    report = compiled_report(path, placement)
    assert report is not None
    assert report["layers"]["correlation int8"] == len(placement.weights) == 3
    assert report["float_convolutions"] == {
        "node_stem": "fewer than 16 channels: padded int8 is no faster",
        "node_logits": "last layer: its rounding would show in the map",
    }


def test_a_residual_add_and_its_relu_become_one_layer(tmp_path: Path) -> None:
    _, _, path = _build(tmp_path, Tiny(channels=32))
    (fused,) = (layer for layer in compiled_layers(path) if "node_block_sum" in layer.origin)
    assert "node_block_out" in fused.origin


def test_a_block_returned_to_float_is_float_in_the_plan(tmp_path: Path) -> None:
    overrides = PlacementOverrides(float_blocks=frozenset({"net.block"}))
    _, placement, path = _build(tmp_path, Tiny(channels=32), overrides)
    report = compiled_report(path, placement)
    assert report is not None
    assert report["layers"]["correlation int8"] == 1
    assert report["float_convolutions"]["node_block_a"] == "returned to float to pass the gate"


def test_a_batch_of_four_builds_too(tmp_path: Path) -> None:
    _, _, path = _build(tmp_path, Tiny(channels=32, batch=4))
    assert any(layer.int8 for layer in compiled_layers(path))
