"""`edge-ad calibrate --precision auto`: the fastest precision that passes the gate."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.calibration.int8_models import Tiny, calibrate, images, labelled

pytestmark = pytest.mark.usefixtures("plain_charts")

run = partial(calibrate, "--parts-from", "each")


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return Tiny().save(tmp_path / "tiny.onnx")


@pytest.fixture
def normal(tmp_path: Path) -> Path:
    return images(tmp_path / "normal", 16)


@pytest.fixture
def test_set(tmp_path: Path) -> Path:
    return labelled(tmp_path / "labelled", 12)


def _report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return report


LOOSE = ("--max-auroc-loss", 1, "--max-pixel-ap-loss", 1)


def _int8_hardly_faster(evaluator: object, models: dict[str, object]) -> dict[str, float]:
    return {name: 9.9 if name == "int8" else 10.0 + len(name) for name in models}


def test_auto_keeps_the_fastest_precision_that_passes(
    engine: Path, normal: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--images", normal, "--method", "mse", "--precision", "auto", "--json")
    monkeypatch.setattr("edge_ad.calibration.quantize.comparison.time_models", _int8_hardly_faster)
    assert run(engine, *words, *LOOSE) == 0
    report = _report(capsys)
    comparison = report["precision_comparison"]
    assert comparison["winner"] == "int8"
    assert [item["precision"] for item in comparison["precisions"]] == ["fp32", "fp16", "int8"]
    engine.with_suffix(".int8.onnx").unlink()
    assert run(engine, *words, *LOOSE, "--margin", 0.5) == 0
    report = _report(capsys)
    assert report["precision_comparison"]["winner"] == "fp32"
    assert report["engine"] is None
    assert not engine.with_suffix(".int8.onnx").exists()


def test_auto_never_keeps_an_int8_that_fails_the_gate(
    engine: Path, normal: Path, test_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--images", normal, "--method", "percentile-99.9", "--precision", "auto", "--json")
    strict = ("--test", test_set, "--max-pixel-ap-loss", 0, "--no-fall-back")
    assert run(engine, *words, *strict) == 0
    report = _report(capsys)
    assert report["precision_comparison"]["winner"] != "int8"
    assert report["precision_comparison"]["precisions"][-1]["passed"] is False


def test_auto_is_refused_where_it_cannot_measure(
    engine: Path, normal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(engine, "--images", normal, "--precision", "auto", "--target", "tensorrt") == 2
    assert "edge-ad build" in capsys.readouterr().err
