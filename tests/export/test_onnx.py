"""Traced modules keep the engine contract and contain nothing of the exporting machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edge_ad.engine import open_engine
from edge_ad.errors import EdgeAdError
from edge_ad.export.comparison_frames import generated_frames
from edge_ad.export.engine_file import torch_prediction
from edge_ad.export.onnx import onnx_from_module
from edge_ad.manifest import METADATA_KEY, manifest_from_json
from edge_ad.methods.engine_graph import EngineGraph
from edge_ad.methods.registry import METHODS
from tests.conftest import CompletedProcess, edge_ad, invoke
from tests.export.models import (
    ENTRY,
    SIZE,
    save_destseg,
    save_tiny,
    tiny_graph,
    tiny_manifest,
    tiny_module,
)

COMPUTING_SHAPES = {"Shape", "Size", "NonZero", "If", "Loop", "ConstantOfShape", "Range"}


@pytest.fixture
def tiny() -> onnx.ModelProto:
    return tiny_graph()


def export_words(weights: Path) -> list[str]:
    engine = weights.with_suffix(".onnx")
    return ["export", str(weights), "-o", str(engine), "--store-weights", "int8", "--json"]


def check_report(process: CompletedProcess, engine: Path) -> None:
    assert process.returncode == 0, process.stderr
    (line,) = process.stdout.splitlines()
    report = json.loads(line)
    assert json.loads(engine.with_name(f"{engine.name}.report.json").read_text()) == report
    assert report["parity"]["max_abs_map"] < 1e-5
    assert 0 < report["rounding"]["max_abs_score"] < 0.05


def check_static(model: onnx.ModelProto) -> None:
    assert not COMPUTING_SHAPES & {node.op_type for node in model.graph.node}


@pytest.mark.slow
def test_destseg_is_exported_in_silence_and_computes_no_shapes(tmp_path: Path) -> None:
    """In a separate process: torch's loggers keep the stderr of their first use."""
    process = edge_ad(*export_words(save_destseg(tmp_path / "destseg.pt")), timeout_s=240)
    check_report(process, tmp_path / "destseg.onnx")
    assert process.stderr.splitlines() == [
        "tracing destseg at 32x32",
        "comparing with torch on 8 frames",
    ]
    check_static(onnx.load(tmp_path / "destseg.onnx"))


def test_the_report_is_what_json_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "tiny", ENTRY)
    check_report(invoke(*export_words(save_tiny(tmp_path / "tiny.pt"))), tmp_path / "tiny.onnx")


def test_a_static_graph_computes_no_shapes(tiny: onnx.ModelProto) -> None:
    check_static(tiny)


def test_an_image_goes_straight_into_a_cast(tiny: onnx.ModelProto) -> None:
    consumers = [node.op_type for node in tiny.graph.node if "image" in node.input]
    assert consumers == ["Cast"]


def test_the_manifest_travels_in_the_file(tiny: onnx.ModelProto) -> None:
    props = {prop.key: prop.value for prop in tiny.metadata_props}
    assert manifest_from_json(props[METADATA_KEY], "tiny") == tiny_manifest()


def test_nothing_of_this_machine_travels_in_the_file(tiny: onnx.ModelProto) -> None:
    data = tiny.SerializeToString()
    assert str(Path(__file__).parent).encode() not in data
    assert b"stack_trace" not in data


def test_old_runtimes_read_the_file(tiny: onnx.ModelProto) -> None:
    assert tiny.ir_version <= 9  # ONNX Runtime 1.17
    assert [(opset.domain, opset.version) for opset in tiny.opset_import] == [("", 18)]


@pytest.mark.parametrize("batch", [1, 3, None])
def test_the_graph_computes_what_torch_computes(batch: int | None, tmp_path: Path) -> None:
    network, frames = EngineGraph(tiny_module()), generated_frames(SIZE, 5)
    path = tmp_path / "tiny.onnx"
    onnx.save(tiny_graph(batch), path)
    expected = torch_prediction(network, frames)
    with open_engine(path) as engine:
        prediction = engine.infer(frames)
        single = engine.infer(frames[2:3])
    np.testing.assert_allclose(prediction.maps, expected.maps, atol=1e-6)
    np.testing.assert_allclose(prediction.scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(single.scores, expected.scores[2:3], atol=1e-6)


class DataDependent(nn.Module):
    """A module that branches on its input, which no fixed graph can express."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        values = image.float().mean(dim=3)
        if values.max() > 1:
            values = values / 255
        return values, values.amax(dim=(1, 2))


def test_a_module_that_cannot_be_traced_is_named() -> None:
    with pytest.raises(EdgeAdError, match="cannot export this tiny") as caught:
        onnx_from_module(DataDependent(), tiny_manifest())
    assert "\n" not in str(caught.value)


def test_tracing_leaves_the_module_in_eval_mode() -> None:
    module = tiny_module()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    onnx_from_module(EngineGraph(module).train(), tiny_manifest())
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
