"""`edge-ad inspect`: descriptions of files, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import edge_ad
from edge_ad.cli.inspect import command
from edge_ad.errors import EdgeAdError, IncompatibleError, UsageError
from edge_ad.files import sha256
from edge_ad.geometry import Geometry
from edge_ad.manifest import METADATA_KEY, Manifest, Score, Threshold
from edge_ad.sidecar import set_threshold


def inspect(path: Path) -> dict[str, Any]:
    result = CliRunner().invoke(command, [str(path), "--json"], catch_exceptions=False)
    facts = json.loads(result.stdout)
    assert isinstance(facts, dict)
    return facts


def printed(path: Path) -> str:
    return CliRunner().invoke(command, [str(path)], catch_exceptions=False).stdout


@pytest.fixture
def onnx() -> Any:
    """Import onnx, without which graphs are described in part."""
    return pytest.importorskip("onnx", reason="looks into graphs")


def test_an_engine_is_described(onnx: Any, make_engine: Callable[..., Path]) -> None:
    path = make_engine()
    facts = inspect(path)
    assert (facts["type"], facts["kind"], facts["sha256"]) == ("inspect", "engine", sha256(path))
    assert facts["contract"] == {"met": True, "problem": ""}
    assert facts["graph"]["operators"] == {"Cast": 1, "Gather": 1, "Div": 1, "ReduceMax": 1}
    assert facts["graph"]["inputs"] == [{"name": "image", "type": "uint8", "shape": [1, 32, 32, 3]}]
    assert facts["threshold"]["image"] == 0.5


def test_the_guarantee_of_the_threshold_is_printed(
    make_engine: Callable[..., Path],
) -> None:
    lines = printed(make_engine())
    assert "image 0.5, pixel 0.5" in lines
    assert "with 0.95 confidence at most 0.01 of normal parts are rejected" in lines


def test_the_guarantee_names_what_it_counts_and_that_it_is_an_estimate(
    make_engine: Callable[..., Path],
) -> None:
    threshold = Threshold(
        image=1, pixel=1, false_alarm_rate=0.01, confidence=0.95, by="image", parts=24, images=121,
        folds=3,
    )  # fmt: skip
    path = make_engine()
    set_threshold(path, threshold)
    lines = " ".join(printed(path).split())
    assert (
        "an estimate, not a guarantee: with 0.95 confidence at most 0.01 of normal images" in lines
    )
    assert "measured on 24 parts (121 images)" in lines


def test_an_engine_without_threshold_says_how_to_set_one(make_engine: Callable[..., Path]) -> None:
    assert "set one: edge-ad threshold" in printed(make_engine(threshold=None))


def test_a_sidecar_stands_for_its_engine(make_engine: Callable[..., Path]) -> None:
    path = make_engine()
    assert inspect(path.with_name("green.onnx.yaml")) == inspect(path)


def test_a_replaced_engine_is_described_not_refused(make_engine: Callable[..., Path]) -> None:
    path = make_engine()
    make_engine(batch=3, threshold=None)
    assert inspect(path)["threshold"] is None
    assert "not usable" in printed(path)


def test_an_open_batch_is_printed(make_engine: Callable[..., Path]) -> None:
    assert "any number of images a call" in printed(make_engine(batch=None))


def test_a_size_is_printed_as_the_options_take_it() -> None:
    shipped = Path(edge_ad.__file__).parent / "sample" / "engine.onnx"
    assert "128x176 (height x width), 1 image a call" in printed(shipped)


@pytest.mark.parametrize(
    ("top_k", "rule"),
    [(1, "score       the largest value\n"), (9, "mean of the 9 largest values\n")],
)
def test_the_rule_of_the_score_is_printed(
    make_engine: Callable[..., Path], onnx: Any, top_k: int, rule: str
) -> None:
    path = make_engine(threshold=None)
    model = onnx.load(path)
    manifest = Manifest(method="green", size_hw=(32, 32), score=Score(top_k=top_k))
    onnx.helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    onnx.save(model, path)
    assert rule in printed(path)


def test_geometry_is_printed(onnx: Any, make_engine: Callable[..., Path]) -> None:
    path, ignored = make_engine(threshold=None), ((0, 0), (5, 0), (0, 5))
    geometry = Geometry(roi_xywh=(1, 2, 30, 20), tiles=(1, 2), overlap=0.1, ignore=(ignored,))
    geometry = geometry.replace(frame_wh=(64, 48))
    manifest = Manifest(method="green", size_hw=(32, 32), geometry=geometry)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    onnx.save(model, path)
    expected = "region x=1 y=2 width=30 height=20, 1x2 tiles, 10% overlap, 1 ignored polygons, "
    assert f"{expected}of frames of 64x48" in printed(path)


def test_a_foreign_graph_is_described_and_named_foreign(onnx: Any, tmp_path: Path) -> None:
    onnx.save(matrix_product(onnx), tmp_path / "foreign.onnx")
    facts = inspect(tmp_path / "foreign.onnx")
    assert facts["manifest"] is None
    assert facts["contract"]["met"] is False
    assert "without edge-ad's manifest" in facts["contract"]["problem"]
    described = printed(tmp_path / "foreign.onnx")
    assert "NOT met" in described
    assert "set one: edge-ad threshold" not in described  # it would be refused


def test_without_the_package_onnx_a_graph_is_described_in_part(
    make_engine: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_engine()
    monkeypatch.setattr("edge_ad.describe.files.find_spec", lambda name: None)
    facts = inspect(path)
    assert facts["graph"] is None
    assert facts["manifest"]["method"] == "green"
    assert "not checked" not in printed(path)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        pytest.param("a.onnx", None, UsageError, "no file at", id="missing"),
        pytest.param("a.onnx", b"", IncompatibleError, "got an empty file", id="empty"),
        pytest.param(
            "a.onnx", b"GIF89a" * 99, IncompatibleError, "begin with b'GIF89a", id="foreign"
        ),
        pytest.param("a.engine", b"?", UsageError, "unknown suffix", id="unknown suffix"),
        pytest.param("a.onnx.yaml", b"{}", UsageError, "not beside it", id="a sidecar alone"),
        pytest.param("a.pt", b"?", UsageError, "read as PyTorch weights", id="no weights"),
    ],
)
def test_what_cannot_be_described_is_refused(
    name: str, content: bytes | None, error: type[EdgeAdError], message: str, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="reads weights") if name == "a.pt" else None
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        inspect(tmp_path / name)


def test_a_truncated_engine_is_refused(make_engine: Callable[..., Path]) -> None:
    path = make_engine()
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(IncompatibleError, match=r"cut off"):
        inspect(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder, and none of its files is a"):
        inspect(tmp_path)


def test_arithmetic_is_counted_per_image(onnx: Any, tmp_path: Path) -> None:
    onnx.save(matrix_product(onnx), tmp_path / "product.onnx")
    facts = inspect(tmp_path / "product.onnx")["graph"]
    # convolution 2 * 4*6*6 outputs * 3*3*3 weights each; product 2 * 4*6*5 outputs * 6 terms each
    assert facts["gflops"] == round((2 * 4 * 36 * 27 + 2 * 4 * 30 * 6) / 1e9, 4)
    assert facts["parameters"] == 4 * 27 + 6 * 5
    assert facts["weights"] == {"fp32": 4 * 27 + 6 * 5}


def matrix_product(onnx: Any) -> Any:
    """Two images through a 3x3 convolution and a matrix product."""
    helper, types, numpy_helper = onnx.helper, onnx.TensorProto, onnx.numpy_helper
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("MatMul", ["c", "matrix"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", types.FLOAT, [2, 3, 6, 6])],
        [helper.make_tensor_value_info("y", types.FLOAT, [2, 4, 6, 5])],
        [
            numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "kernel"),
            numpy_helper.from_array(np.ones((6, 5), np.float32), "matrix"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
