"""Weights in 8 bits: smaller files, the same arithmetic at run time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from edge_ad.engine import open_engine
from edge_ad.export.comparison_frames import generated_frames
from edge_ad.export.weight_storage import dequantize_weights, round_weights, store_weights_as_int8
from tests.export.models import SIZE, tiny_graph, tiny_module


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the same rounded weights as fp32 and as int8."""
    folder = tmp_path_factory.mktemp("storage")
    model = tiny_graph(rounded=True)
    onnx.save(model, folder / "plain.onnx")
    assert store_weights_as_int8(model) == 1  # the 16x16x3x3 one; the others are below the limit
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "small.onnx")
    return folder / "plain.onnx", folder / "small.onnx"


def test_both_forms_give_bit_identical_outputs(files: tuple[Path, Path]) -> None:
    frames = generated_frames(SIZE, 4)
    predictions = []
    for path in files:
        with open_engine(path) as engine:
            predictions.append(engine.infer(frames))
    np.testing.assert_array_equal(predictions[0].maps, predictions[1].maps)
    np.testing.assert_array_equal(predictions[0].scores, predictions[1].scores)


def test_onnx_runtime_dequantizes_the_weights_at_load(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    plain, small = (_operators_after_loading(path, tmp_path) for path in files)
    assert small == plain


def test_the_file_shrinks_by_three_bytes_a_weight(files: tuple[Path, Path]) -> None:
    plain, small = (path.stat().st_size for path in files)
    assert plain - small > 0.7 * 3 * (16 * 16 * 3 * 3)


def test_dequantizing_restores_the_fp32_graph(files: tuple[Path, Path]) -> None:
    plain, small = (onnx.load(path) for path in files)
    assert dequantize_weights(small) == 1
    assert list(small.graph.node) == list(plain.graph.node)
    weights = [_weights(model) for model in (plain, small)]
    assert weights[0].keys() == weights[1].keys()
    for name, values in weights[0].items():
        np.testing.assert_allclose(weights[1][name], values, rtol=1e-6)


def test_dequantizing_leaves_other_graphs_unchanged(files: tuple[Path, Path]) -> None:
    model = onnx.load(files[0])
    before = model.SerializeToString()
    assert dequantize_weights(model) == 0
    assert model.SerializeToString() == before


def test_weights_off_the_grid_stay_as_they_are() -> None:
    model = tiny_graph()
    before = model.SerializeToString()
    assert store_weights_as_int8(model) == 0
    assert model.SerializeToString() == before


def test_rounding_leaves_the_original_unchanged() -> None:
    module = tiny_module()
    before = module.second.weight.clone()
    copy = round_weights(module)
    assert torch.equal(module.second.weight, before)
    assert not torch.equal(copy.second.weight, before)  # type: ignore[union-attr,arg-type]


@settings(deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-6, 1e6))
def test_each_channel_moves_by_at_most_half_its_step(seed: int, size: float) -> None:
    torch.manual_seed(seed)
    layer = nn.Conv2d(4, 6, 3)
    layer.weight.data.mul_(size)
    layer.weight.data[0] = 0
    moved = (round_weights(layer).weight - layer.weight).abs().amax(dim=(1, 2, 3))  # type: ignore[operator]
    step = layer.weight.abs().amax(dim=(1, 2, 3)) / 127
    assert (moved <= step * 0.501).all()


def _weights(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _operators_after_loading(path: Path, folder: Path) -> Counter[str]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / path.name)
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / path.name).graph.node)
