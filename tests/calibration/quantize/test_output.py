"""The files of a calibration appear together, or what was there stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.calibration.quantize import report
from edge_ad.errors import IncompatibleError
from tests.calibration.int8_models import Tiny, images, labelled
from tests.conftest import invoke

NO_GATE = ("--parts-from", "each", "--no-gate", "--method", "minmax")


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return Tiny().save(tmp_path / "part" / "tiny.onnx")


@pytest.fixture
def normal(tmp_path: Path) -> Path:
    return images(tmp_path / "normal", 8)


def _content(folder: Path) -> dict[str, bytes]:
    """Return the visible files of a folder."""
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")
    }


def test_a_failure_of_the_last_check_leaves_nothing(
    engine: Path, normal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise IncompatibleError("TensorRT-RTX cannot build it")

    monkeypatch.setattr(report, "compiled_report", refuse)
    before = _content(engine.parent)
    words = ("calibrate", engine, "--images", normal, "--target", "tensorrt", *NO_GATE)
    assert invoke(*words).returncode == 3
    assert _content(engine.parent) == before


def test_a_failure_leaves_the_files_of_an_earlier_calibration(
    engine: Path, normal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("calibrate", engine, "--images", normal, *NO_GATE)
    assert invoke(*words).returncode == 0
    before = _content(engine.parent)
    assert set(before) == {
        "tiny.onnx", "tiny.int8.onnx", "tiny.int8.onnx.yaml", "tiny.int8.ranges.yaml",
        "tiny.int8.onnx.report.json", "tiny.int8.onnx.report.html",
    }  # fmt: skip

    def refuse(*_: object) -> None:
        raise IncompatibleError("no speed")

    monkeypatch.setattr(report, "measure_speed", refuse)
    assert invoke(*words, "--samples", 8, "--seed", 3).returncode == 3
    assert _content(engine.parent) == before


def test_a_rejected_result_leaves_an_earlier_engine_with_its_table_and_report(
    engine: Path, normal: Path, tmp_path: Path
) -> None:
    assert invoke("calibrate", engine, "--images", normal, *NO_GATE).returncode == 0
    before = _content(engine.parent)
    limits = ("--max-pixel-ap-loss", 0, "--no-fall-back", "--method", "percentile-99.9")
    test = labelled(tmp_path / "labelled", 12)
    words = ("calibrate", engine, "--images", normal, "--test", test, *limits)
    assert invoke(*words).returncode == 4
    after = _content(engine.parent)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {
        "tiny.int8.rejected.ranges.yaml",
        "tiny.int8.rejected.onnx.report.json",
        "tiny.int8.rejected.onnx.report.html",
    }


def test_a_cache_that_cannot_be_written_leaves_no_engine(
    engine: Path, normal: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / "calibration.cache"
    words = ("calibrate", engine, "--images", normal, "--target", "tensorrt", *NO_GATE)
    assert invoke(*words, "--write-cache", cache).returncode != 0
    assert set(_content(engine.parent)) == {"tiny.onnx"}


@pytest.mark.parametrize("batch", [None, 2])
def test_a_graph_of_several_images_is_calibrated_for_tensorrt(
    tmp_path: Path, normal: Path, batch: int | None
) -> None:
    engine = Tiny(batch=batch).save(tmp_path / "several" / "tiny.onnx")
    words = ("calibrate", engine, "--images", normal, "--target", "tensorrt", *NO_GATE)
    done = invoke(*words)
    assert done.returncode == 0, done.stderr
    assert "tiny.int8.onnx" in _content(engine.parent)
