"""One image among forty that the region of interest does not fit is named by every verb."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_ad.errors import UsageError
from edge_ad.geometry import Geometry
from edge_ad.images import list_images, write_image
from edge_ad.preprocess import Preprocess
from edge_ad.training.data import load_tiles
from tests.calibration.int8_models import MANIFEST, Tiny, images, labelled
from tests.conftest import invoke

pytestmark = pytest.mark.usefixtures("plain_charts")

ROI = Geometry(roi_xywh=(8, 8, 30, 30))  # of images of 40x40


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    onnx.save(Tiny().model(MANIFEST.replace(geometry=ROI)), path)
    return path


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    folder = images(tmp_path / "parts", 39)
    write_image(folder / "portrait.png", np.full((40, 20, 3), 120, np.uint8))
    return folder


_WORDS = {
    "threshold": ("--false-alarm-rate", 0.2, "--parts-from", "each", "--images"),
    "calibrate": ("--method", "minmax", "--no-gate", "--images"),
    "verify": ("tiny.onnx", "--frames", 40, "--images"),
    "evaluate": ("--data",),
}


@pytest.mark.parametrize("verb", _WORDS)
def test_it_is_named(
    verb: str, engine: Path, parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if verb == "evaluate":
        good = labelled(tmp_path / "labelled", 6) / "test" / "good"
        (parts / "portrait.png").rename(good / "portrait.png")
        parts = good.parent.parent
    done = invoke(verb, engine, *_WORDS[verb], parts)
    assert done.returncode == 2 and "portrait.png: " in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_train_names_it(parts: Path) -> None:
    with pytest.raises(UsageError, match=r"portrait\.png: .*not inside the frame, which is 20x40"):
        load_tiles(list_images(parts), Preprocess((32, 32), ROI))
