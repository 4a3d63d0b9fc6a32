"""Foreign ONNX graphs wrapped in edge-ad's contract keep their outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_ad.cli.import_ import command
from edge_ad.detector import Detector
from edge_ad.engine import open_engine
from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.frame import Image
from tests.export.models import run

SIZE = (32, 48)
COLOURS = np.array([0.5, 0.3, 0.2], np.float32)  # of red, green, blue, so that a swap shows


def _foreign(
    path: Path,
    *,
    batch: int | str = 1,
    layout: str = "nchw",
    outputs: tuple[str, str] = ("anomaly_map", "pred_score"),
    size: tuple[int, int] = SIZE,
    colours: NDArray[np.float32] = COLOURS,
) -> Path:
    """Map: a weighted sum of the colours. Score: its maximum. Named like our own tensors."""
    count = len(colours)
    shape = [batch, count, *size] if layout == "nchw" else [batch, *size, count]
    weights = colours.reshape((1, count, 1, 1) if layout == "nchw" else (1, 1, 1, count))
    axis = 1 if layout == "nchw" else 3
    nodes = [
        helper.make_node("Mul", ["image", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axis"], [outputs[0]], keepdims=1),
        helper.make_node("ReduceMax", [outputs[0]], [outputs[1]], axes=[1, 2, 3], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(outputs[0], TensorProto.FLOAT, [batch, None, None, None]),
            helper.make_tensor_value_info(outputs[1], TensorProto.FLOAT, [batch]),
        ],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([axis], np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def _import(*words: Any) -> None:
    CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)


def _images(count: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3), np.uint8)


def _check(path: Path, images: Image, scaled: Any) -> None:
    expected = (scaled * COLOURS).sum(axis=-1)
    with open_engine(path) as engine:
        prediction = engine.infer(images)
        np.testing.assert_allclose(prediction.maps, expected, atol=1e-5)
        np.testing.assert_allclose(prediction.scores, expected.max(axis=(1, 2)), atol=1e-5)


@pytest.mark.parametrize("batch", [1, "any"])
def test_an_anomalib_engine_gets_rgb_from_0_to_1(tmp_path: Path, batch: int | str) -> None:
    source = _foreign(tmp_path / "model.onnx", batch=batch)
    _import(source, "-o", tmp_path / "x.onnx", "--size", "32x48", "--adapter", "anomalib")
    images = _images(3)
    _check(tmp_path / "x.onnx", images, images[..., ::-1] / 255)


def test_layout_colour_scaling_and_names_follow_the_options(tmp_path: Path) -> None:
    source = _foreign(tmp_path / "model.onnx", layout="nhwc", outputs=("heat", "worst"))
    words = ["--layout", "nhwc", "--color", "bgr", "--scale", "0.5", "--map-output", "heat"]
    words += ["--mean", "1,2,3", "--std", "4,5,6", "--score-output", "worst", "--size", "32x48"]
    _import(source, "-o", tmp_path / "x.onnx", *words)
    images = _images(2)
    _check(tmp_path / "x.onnx", images, (images * 0.5 - [1, 2, 3]) / [4, 5, 6])


def test_a_grey_graph_gets_the_luma_of_the_colours(tmp_path: Path) -> None:
    source = _foreign(tmp_path / "model.onnx", colours=np.ones(1, np.float32))
    _import(source, "-o", tmp_path / "x.onnx", "--size", "32x48", "--adapter", "anomalib")
    images = _images(2)
    with open_engine(tmp_path / "x.onnx") as engine:
        maps = engine.infer(images).maps
    for image, one in zip(images, maps, strict=True):
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)  # in whole grey levels
        np.testing.assert_allclose(one, grey / 255, atol=0.6 / 255)


def test_a_graph_without_a_score_takes_the_maps_maximum(tmp_path: Path) -> None:
    source = _foreign(tmp_path / "model.onnx")
    words = ["--adapter", "anomalib", "--score-output", "max", "--size", "32x48"]
    _import(source, "-o", tmp_path / "x.onnx", *words)
    images = _images(2)
    _check(tmp_path / "x.onnx", images, images[..., ::-1] / 255)


@pytest.mark.parametrize("times", [(2, 1), (1, 2), (3, 2)])
def test_a_map_larger_than_the_image_keeps_its_maxima(
    tmp_path: Path, times: tuple[int, int]
) -> None:
    source = _foreign(tmp_path / "model.onnx")
    model = onnx.load(source)
    weighted, summed, largest = model.graph.node
    summed.output[0] = "small"
    enlarged = helper.make_node("Resize", ["small", "", "times"], ["large"], mode="nearest")
    marked = helper.make_node("Mul", ["large", "marks"], ["anomaly_map"])
    del model.graph.node[:]
    model.graph.node.extend([weighted, summed, enlarged, marked, largest])
    marks = np.full((1, 1, SIZE[0] * times[0], SIZE[1] * times[1]), 0.5, np.float32)
    marks[:, :, :: times[0], :: times[1]] = 1  # one pixel of each block is the largest
    for value, name in ((np.array([1, 1, *times], np.float32), "times"), (marks, "marks")):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.save(model, source)
    _import(source, "-o", tmp_path / "x.onnx", "--size", "32x48", "--adapter", "anomalib")
    images = _images(2)
    _check(tmp_path / "x.onnx", images, images[..., ::-1] / 255)


def test_the_manifest_says_where_it_came_from(tmp_path: Path) -> None:
    source = _foreign(tmp_path / "model.onnx")
    _import(source, "-o", tmp_path / "x.onnx", "--size", "32x48", "--adapter", "anomalib")
    with open_engine(tmp_path / "x.onnx") as engine:
        assert engine.manifest.method == "imported" and engine.manifest.size_hw == SIZE
        assert engine.manifest.provenance.notes["imported from"] == "model.onnx"
        assert engine.manifest.geometry.shrink == "area"


def test_an_engine_keeps_to_the_shrinking_it_was_imported_with(tmp_path: Path) -> None:
    source = _foreign(tmp_path / "model.onnx")
    words = ["--adapter", "anomalib", "--shrink", "bilinear", "--size", "32x48"]
    _import(source, "-o", tmp_path / "x.onnx", *words)
    frame = np.random.default_rng(1).integers(0, 256, (200, 210, 3), np.uint8)
    with Detector(tmp_path / "x.onnx", threshold=9.0) as detector:
        score = detector(frame).score
    seen = cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_LINEAR)[..., ::-1] / 255
    assert score == pytest.approx((seen * COLOURS).sum(axis=-1).max(), abs=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], r"does not say which output is the map.*anomaly_map, pred_score"),
        (["--map-output", "anomaly_map"], r"does not say which values its float32 input expects"),
        (["--adapter", "anomalob"], r"no adapter 'anomalob'; expected one of: anomalib"),
        (["--adapter", "anomalib", "--map-output", "heat"], r"no output 'heat'; it has: anomaly_m"),
        (["--adapter", "anomalib", "--size", "64"], r"takes 32x48 \(height x width\)"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    words: list[str], message: str, tmp_path: Path
) -> None:
    source = _foreign(tmp_path / "model.onnx")
    size = [] if "--size" in words else ["--size", "32x48"]
    with pytest.raises(UsageError, match=message):
        _import(source, "-o", tmp_path / "x.onnx", *words, *size)
    assert not (tmp_path / "x.onnx").exists()


def test_an_output_that_is_not_a_map_is_refused(tmp_path: Path) -> None:
    source = _foreign(tmp_path / "model.onnx")
    words = ["--adapter", "anomalib", "--map-output", "pred_score", "--size", "32x48"]
    with pytest.raises(IncompatibleError, match="expected one map an image"):
        _import(source, "-o", tmp_path / "x.onnx", *words)
    assert not (tmp_path / "x.onnx").exists()


def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"noise")
    with pytest.raises(IncompatibleError, match="not readable as ONNX"):
        _import(tmp_path / "x.onnx", "-o", tmp_path / "y.onnx", "--adapter", "anomalib")


def test_options_of_onnx_files_are_refused_for_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="are for ONNX files"):
        _import(tmp_path / "x.ckpt", "-o", tmp_path / "y.pt", "--adapter", "anomalib")


def test_a_foreign_graph_goes_all_the_way_to_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every verb names the import command, and accepts the imported file."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    monkeypatch.chdir(tmp_path)
    _foreign(Path("theirs.onnx"), batch="n")
    first = "edge-ad import theirs.onnx --adapter anomalib -o theirs.engine.onnx"
    for words in (("convert", "--precision", "fp16"), ("build",)):
        assert run(words[0], "theirs.onnx", *words[1:]) == 3
        assert first in capsys.readouterr().err
    assert run(*first.split()[1:], "--size", "32x48") == 0
    assert run("convert", "theirs.engine.onnx", "--precision", "fp16") == 0
    assert run("build", "theirs.engine.fp16.onnx", "--runtime", "tensorrt-rtx") == 0
    assert run("inspect", "theirs.engine.fp16.plan") == 0
    printed = capsys.readouterr().out
    assert "imported, fp16" in printed and "imported from: theirs.onnx" in printed
