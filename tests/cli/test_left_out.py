"""Every verb that reads a folder names the files that it does not use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.calibration.int8_models import Tiny, images, labelled
from tests.conftest import invoke

pytestmark = pytest.mark.usefixtures("plain_charts")


@pytest.fixture
def normal(tmp_path: Path) -> Path:
    """Return a folder of images, with a text, a broken image and an image in a folder below."""
    folder = images(tmp_path / "normal", 40)
    images(folder / "below", 1)
    (folder / "list.tga").write_text("no image")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    return folder


def _left_out(*words: object) -> list[str]:
    done = invoke(*words, "--json")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return sorted(Path(name).name for name in result["left_out"])


def test_calibrate(tmp_path: Path, normal: Path) -> None:
    engine, tests = Tiny().save(tmp_path / "tiny.onnx"), labelled(tmp_path / "labelled", 12)
    words = ("--test", tests, "--max-auroc-loss", 1, "--max-pixel-ap-loss", 1, "--max-float", 0)
    ranges = ("--method", "minmax", "--parts-from", "each")
    names = _left_out("calibrate", engine, "--images", normal, *words, *ranges)
    assert names == ["000.png", "broken.png", "list.tga"]


def test_threshold(tmp_path: Path, normal: Path) -> None:
    engine = Tiny().save(tmp_path / "tiny.onnx")
    rate = ("--false-alarm-rate", 0.2, "--parts-from", "each", "--allow-drift")
    names = _left_out("threshold", engine, "--images", normal, *rate)
    assert names == ["000.png", "broken.png", "list.tga"]


def test_verify(tmp_path: Path, normal: Path) -> None:
    engine = Tiny().save(tmp_path / "tiny.onnx")
    words = ("--images", normal, "--frames", 99, "--sheet", tmp_path / "sheet.png")
    assert _left_out("verify", engine, engine, *words) == ["broken.png", "list.tga"]


def test_evaluate(tmp_path: Path) -> None:
    engine, tests = Tiny().save(tmp_path / "tiny.onnx"), labelled(tmp_path / "labelled", 4)
    (tests / "test" / "good" / "list.tga").write_text("no image")
    (tests / "test" / "good" / "broken.png").write_bytes(b"\x89PNG")
    assert _left_out("evaluate", engine, "--data", tests) == ["broken.png", "list.tga"]
