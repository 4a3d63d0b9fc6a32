"""A traced module keeps the engine contract and carries nothing but itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edge_ad.engine import open_engine
from edge_ad.errors import EdgeAdError
from edge_ad.export.comparison_frames import generated
from edge_ad.export.engine_file import torch_answer
from edge_ad.export.onnx import onnx_from_module
from edge_ad.manifest import METADATA_KEY, manifest_from_json
from edge_ad.methods.engine_graph import EngineGraph
from tests.export.models import SIZE, save_destseg, tiny_manifest, tiny_module

COMPUTING_SHAPES = {"Shape", "Size", "NonZero", "If", "Loop", "ConstantOfShape", "Range"}


@pytest.fixture(scope="module")
def tiny() -> onnx.ModelProto:
    return onnx_from_module(EngineGraph(tiny_module()), tiny_manifest())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:  # type: ignore[type-arg]
    """DeSTSeg exported as a user does it, in a process of its own."""
    folder = tmp_path_factory.mktemp("destseg")
    weights = save_destseg(folder / "destseg.pt")
    words = ["export", weights, "-o", folder / "destseg.onnx", "--store-weights", "int8", "--json"]
    ended = subprocess.run(
        [sys.executable, "-m", "edge_ad", *map(str, words)], capture_output=True, text=True
    )
    return folder / "destseg.onnx", ended


def test_the_exporter_stays_silent(exported: tuple[Path, Any]) -> None:
    _, ended = exported
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines() == [
        "tracing destseg at 32x32",
        "comparing with torch on 8 frames",
    ]
    assert len(ended.stdout.splitlines()) == 1


def test_the_report_is_what_json_prints(exported: tuple[Path, Any]) -> None:
    path, ended = exported
    report = json.loads(ended.stdout)
    assert json.loads((path.parent / "destseg.onnx.report.json").read_text()) == report
    assert report["parity"]["max_abs_map"] < 1e-5
    assert 0 < report["rounding"]["max_abs_score"] < 0.05


def test_a_static_destseg_computes_no_shapes(exported: tuple[Path, Any]) -> None:
    nodes = onnx.load(exported[0]).graph.node
    assert not COMPUTING_SHAPES & {node.op_type for node in nodes}


def test_an_image_goes_straight_into_a_cast(tiny: onnx.ModelProto) -> None:
    takers = [node.op_type for node in tiny.graph.node if "image" in node.input]
    assert takers == ["Cast"]


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
def test_the_graph_answers_as_torch_does(batch: int | None, tmp_path: Path) -> None:
    network, frames = EngineGraph(tiny_module()), generated(SIZE, 5)
    path = tmp_path / "tiny.onnx"
    onnx.save(onnx_from_module(network, tiny_manifest(batch)), path)
    wanted = torch_answer(network, frames)
    with open_engine(path) as engine:
        found = engine.infer(frames)
        alone = engine.infer(frames[2:3])
    np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-6)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-6)
    np.testing.assert_allclose(alone.scores, wanted.scores[2:3], atol=1e-6)


class Undecided(nn.Module):
    """Branches on what it sees, so no fixed graph can say what it does."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        values = image.float().mean(dim=3)
        if values.max() > 1:
            values = values / 255
        return values, values.amax(dim=(1, 2))


def test_a_module_that_cannot_be_traced_is_named() -> None:
    with pytest.raises(EdgeAdError, match="cannot export this tiny") as caught:
        onnx_from_module(Undecided(), tiny_manifest())
    assert "\n" not in str(caught.value)


def test_tracing_leaves_the_module_in_eval_mode() -> None:
    module = tiny_module()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    onnx_from_module(EngineGraph(module).train(), tiny_manifest())
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
