"""`edge-ad convert` from a user's side."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from edge_ad.engine import open_engine
from edge_ad.export.parity import TOLERANCE, Tolerance
from edge_ad.export.weight_storage import store_weights_as_int8
from edge_ad.files import sha256
from edge_ad.onnx_graph.load import set_manifest
from edge_ad.sidecar import load_sidecar
from tests.conftest import store_threshold
from tests.export.graphs import MANIFEST, drawn
from tests.export.models import run, tiny_graph


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    onnx.save(drawn("z = Relu (c)"), tmp_path / "part.onnx")
    return tmp_path / "part.onnx"


def test_the_new_file_is_named_after_its_precision(
    engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("convert", engine, "--precision", "fp16", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["engine"] == str(engine.with_name("part.fp16.onnx"))
    assert report["fp16"]["kept_in_fp32"] + 2 == report["fp16"]["nodes"]
    with open_engine(engine.with_name("part.fp16.onnx")) as opened:
        assert opened.manifest.precision == "fp16"
        assert opened.manifest.provenance.parent_sha256 == sha256(engine)


def test_what_stays_in_fp32_is_printed_with_its_reason(
    engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("convert", engine, "--precision", "fp16") == 0
    printed = capsys.readouterr().out
    assert "last layer, map and score" in printed
    assert "pixels and their normalisation" in printed


@pytest.mark.slow
def test_weights_in_8_bits_become_fp32_or_fp16(tmp_path: Path) -> None:
    model = tiny_graph(rounded=True)
    store_weights_as_int8(model)
    onnx.save(model, tmp_path / "small.onnx")
    for precision in ("fp32", "fp16"):
        assert run("convert", tmp_path / "small.onnx", "--precision", precision) == 0
        converted = onnx.load(tmp_path / f"small.{precision}.onnx")
        kinds = {tensor.data_type for tensor in converted.graph.initializer}
        assert onnx.TensorProto.INT8 not in kinds


def test_fp32_keeps_the_threshold_and_fp16_needs_a_new_one(
    engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store_threshold(engine, 0.5)
    for precision, kept in (("fp32", True), ("fp16", False)):
        out = engine.with_name(f"new.{precision}.onnx")
        assert run("convert", engine, "--precision", precision, "-o", out) == 0
        sidecar = load_sidecar(out)
        assert (sidecar is not None and sidecar.threshold is not None) == kept
        printed = capsys.readouterr().out
        assert ("carried over" in printed) == kept and ("edge-ad threshold" in printed) != kept


def test_fp32_in_the_name_becomes_fp16(engine: Path) -> None:
    fp32 = engine.rename(engine.with_name("part.fp32.onnx"))
    assert run("convert", fp32, "--precision", "fp16") == 0
    assert engine.with_name("part.fp16.onnx").is_file()


def test_a_difference_beyond_the_tolerance_leaves_nothing(
    engine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TOLERANCE, "fp16", Tolerance(-1.0, "nothing may pass"))
    assert run("convert", engine, "--precision", "fp16") == 4
    assert "nothing may pass" in capsys.readouterr().err
    assert [path.name for path in engine.parent.iterdir()] == ["part.onnx"]


def test_a_graph_that_returns_nan_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(drawn("l = Log (c) z = Relu (l)"), tmp_path / "nan.onnx")
    assert run("convert", tmp_path / "nan.onnx", "--precision", "fp16") == 4
    assert "not finite" in capsys.readouterr().err


def test_a_file_of_another_precision_is_refused(
    engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = drawn("z = Relu (c)")
    set_manifest(model, MANIFEST.replace(precision="int8"))
    onnx.save(model, engine)
    assert run("convert", engine, "--precision", "fp16") == 2
    assert "only fp32 files can be converted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        pytest.param(["part.onnx"], 2, "--precision", id="no precision"),
        pytest.param(["none.onnx", "--precision", "fp16"], 2, "no ONNX file at", id="missing"),
        pytest.param(
            ["foreign.onnx", "--precision", "fp16"],
            3,
            "edge-ad import foreign.onnx --adapter anomalib -o foreign.engine.onnx",
            id="foreign",
        ),
        pytest.param(["cut.onnx", "--precision", "fp16"], 3, "cut off", id="truncated"),
        pytest.param(
            ["part.onnx", "--precision", "fp16", "-o", "part.onnx"],
            2,
            "Choose another",
            id="itself",
        ),
        pytest.param(
            ["part.onnx", "--precision", "fp16", "--images", "nowhere"], 2, "no such", id="images"
        ),
    ],
)
def test_what_cannot_be_converted_is_explained(
    words: list[str],
    code: int,
    text: str,
    engine: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(engine.parent)
    Path("cut.onnx").write_bytes(engine.read_bytes()[:-30])
    foreign = drawn("z = Relu (c)")
    del foreign.metadata_props[:]
    onnx.save(foreign, "foreign.onnx")
    assert run("convert", *words) == code
    message = capsys.readouterr().err
    assert text in message
    assert "Traceback" not in message


def test_build_multiplies_out_weights_that_are_stored_in_8_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    model = tiny_graph(rounded=True)
    store_weights_as_int8(model)
    onnx.save(model, tmp_path / "small.onnx")
    assert run("build", tmp_path / "small.onnx", "--runtime", "tensorrt-rtx") == 0
    assert "weights stored in 8 bits (1) were multiplied out to fp32" in capsys.readouterr().out
