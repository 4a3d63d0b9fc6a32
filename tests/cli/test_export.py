"""`edge-ad export`: files written and inputs refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from edge_ad.engine import open_engine
from edge_ad.export.parity import TOLERANCE, Tolerance
from edge_ad.files import sha256
from edge_ad.methods.registry import METHODS
from tests.export.models import ENTRY, run, save_tiny, trace_once


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(METHODS, "tiny", ENTRY)
    trace_once(monkeypatch)
    return save_tiny(tmp_path / "tiny.pt")


def test_the_engine_is_named_after_the_weights(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", weights) == 0
    assert "next: edge-ad threshold" in capsys.readouterr().out
    assert weights.with_suffix(".onnx").is_file()


@pytest.mark.parametrize(("words", "batch"), [(["--batch", 3], 3), (["--dynamic-batch"], None)])
def test_the_manifest_records_batch_and_parent(
    words: list[object], batch: int | None, weights: Path, tmp_path: Path
) -> None:
    assert run("export", weights, "-o", tmp_path / "out.onnx", *words) == 0
    with open_engine(tmp_path / "out.onnx") as engine:
        assert engine.manifest.batch == batch
        assert engine.manifest.provenance.parent_sha256 == sha256(weights)
        assert "torch" in engine.manifest.provenance.made_with


def test_fp16_is_named_in_manifest_and_report(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", weights, "--precision", "fp16", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["parity"]["against"] == "torch"
    assert 0 < report["fp16"]["kept_in_fp32"] < report["fp16"]["nodes"]
    with open_engine(weights.with_suffix(".onnx")) as engine:
        assert engine.manifest.precision == "fp16"


def test_a_difference_beyond_the_tolerance_leaves_nothing(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TOLERANCE, "fp32", Tolerance(-1.0, "nothing may pass"))
    assert run("export", weights, "--json") == 4
    assert "nothing may pass" in json.loads(capsys.readouterr().out)["message"]
    assert [path.name for path in weights.parent.iterdir()] == ["tiny.pt"]


def test_nothing_is_left_when_the_disk_is_full(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("onnx.save", full)
    assert run("export", weights) == 6
    assert "No space left on device" in capsys.readouterr().err
    assert [path.name for path in weights.parent.iterdir()] == ["tiny.pt"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        pytest.param(["--batch", 2, "--dynamic-batch"], 2, "exclude each other", id="two batches"),
        pytest.param(["--batch", 0], 2, "--batch", id="an empty batch"),
        pytest.param(["-o", "out.plan"], 2, "ends in .onnx", id="another suffix"),
        pytest.param(["-o", "folder.onnx"], 2, "is a folder", id="a folder as output"),
        pytest.param(["-o", "tiny.pt/out.onnx"], 6, "cannot be written", id="below a file"),
        pytest.param(["--images", "nowhere"], 2, "no such folder", id="no images"),
        pytest.param(["--images", "folder.onnx"], 2, "no images in it", id="empty folder"),
        pytest.param(
            ["--store-weights", "int8", "--precision", "fp16"], 2, "leave --precision", id="both"
        ),
        pytest.param(["--store-weights", "int4"], 2, "int4", id="an unknown storage"),
    ],
)
def test_wrong_options_are_explained(
    words: list[object],
    code: int,
    text: str,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(weights.parent)
    Path("folder.onnx").mkdir()
    assert run("export", "tiny.pt", *words) == code
    message = capsys.readouterr().err
    assert text in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(None, "no weights at", id="missing"),
        pytest.param(b"", "read as PyTorch weights", id="empty"),
        pytest.param(b"\x08\x08onnx?", "read as PyTorch weights", id="not a weights file"),
    ],
)
def test_files_that_are_not_weights_are_refused(
    content: bytes | None, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.pt"
    if content is not None:
        path.write_bytes(content)
    assert run("export", path) == 2
    assert text in capsys.readouterr().err


def test_cut_off_weights_are_refused(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights.write_bytes(weights.read_bytes()[:-500])
    assert run("export", weights) == 2
    assert "cut off" in capsys.readouterr().err


def test_weights_of_another_method_are_refused(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(METHODS, "tiny")
    assert run("export", weights) == 2
    assert "the method 'tiny', which this version does not have" in capsys.readouterr().err


def test_a_foreign_state_dict_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pt")
    assert run("export", tmp_path / "resnet.pt") == 2
    assert "not an edge-ad weights file" in capsys.readouterr().err
