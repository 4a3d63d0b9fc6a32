"""`edge-ad threshold`: parts that looks do not tell apart, and parts that were trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import pytest

from edge_ad.calibration.thresholds import normal_images
from edge_ad.calibration.thresholds.normal_input import open_folder
from edge_ad.data_split import DataSplit, ImageSet
from edge_ad.errors import GateFailed
from edge_ad.geometry import Geometry
from edge_ad.images import read_image
from edge_ad.manifest import ASSUMED, manifest_from_json
from edge_ad.parts import ImageId, identify
from edge_ad.sidecar import load_sidecar
from tests.conftest import invoke

MakePath: TypeAlias = Callable[..., Path]


def test_parts_that_looks_cannot_count_are_assumed_until_the_user_says_what_they_are(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    args = (make_engine(threshold=None, score="mean"), "--images", make_folder("good", 9))
    done = invoke("threshold", *args)
    assert done.returncode == 0
    assert "At most 0.29 of normal parts like these should be rejected" in done.stdout
    assert "Not a guarantee unless these are 9 different parts" in done.stdout
    assert "if each image shows another part, give --parts-from each" in done.stderr
    result = json.loads(invoke("threshold", *args, "--json").stdout)
    assert (result["decided_by"], result["guaranteed"], result["parts"]) == (ASSUMED, False, 9)
    assert result["second_exposures"] == {"tried": 9, "recognised": 0, "at_any_angle": False}
    assert _decided_by(args[0]) == ASSUMED
    result = json.loads(invoke("threshold", *args, "--json", "--parts-from", "each").stdout)
    assert (result["decided_by"], result["guaranteed"]) == ("each", True)
    assert result["second_exposures"] is None and _decided_by(args[0]) == "each"


def test_the_users_word_in_training_holds_for_the_images_set_aside_there(
    make_folder: MakePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = make_folder("good", 9)
    ids = [identify(path) for path in sorted(good.iterdir())]
    trained, aside = ImageSet.of(ids[:4], []), ImageSet.of(ids[4:], [])
    split = DataSplit(decided_by="each", trained=trained, threshold=aside)
    read: list[Path] = []

    def counted(path: Path) -> ImageId:
        read.append(path)
        return identify(path)

    monkeypatch.setattr(normal_images, "identify", counted)
    given = open_folder(good, split, Geometry())
    assert read == sorted(good.iterdir()), "each image is read once"
    assert (given.decided_by, given.set_aside, given.doubt) == ("each", 5, "")
    assert open_folder(good, split.replace(decided_by="images"), Geometry()).decided_by == ASSUMED
    elsewhere = DataSplit(decided_by="each")  # it says nothing of other folders
    assert open_folder(good, elsewhere, Geometry()).decided_by == ASSUMED


def test_the_users_word_in_training_holds_where_all_images_look_like_one_part(
    tmp_path: Path,
) -> None:
    print_of_all = np.random.default_rng(0).integers(60, 180, (64, 64, 3))
    for seed in range(9):
        noise = np.random.default_rng(1 + seed).normal(0, 12, (64, 64, 3))
        cv2.imwrite(
            str(tmp_path / f"{seed}.png"), (print_of_all + noise).clip(0, 255).astype(np.uint8)
        )
    ids = [identify(path) for path in sorted(tmp_path.iterdir())]
    trained, aside = ImageSet.of(ids[:4], []), ImageSet.of(ids[4:], [])
    split = DataSplit(decided_by="each", trained=trained, threshold=aside)
    given = open_folder(tmp_path, split, Geometry())
    assert (given.decided_by, given.set_aside) == ("each", 5)
    with pytest.raises(GateFailed, match="trained on 1 of these 1 parts"):
        open_folder(tmp_path, split.replace(decided_by="images"), Geometry())


def test_images_the_detector_was_trained_on_are_refused(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    onnx = pytest.importorskip("onnx")
    engine, good = make_engine(threshold=None, score="mean"), make_folder("good", 5)
    model = onnx.load(engine)
    trained = ImageSet.of(map(identify, sorted(good.iterdir())), [])
    (entry,) = model.metadata_props
    manifest = manifest_from_json(entry.value, "mean")
    entry.value = manifest.replace(data_split=DataSplit(trained=trained)).to_json()
    onnx.save(model, engine)
    done = invoke("threshold", engine, "--images", good, "--parts-from", "each")
    assert done.returncode == 4 and "was trained on 5 of these 5 parts" in done.stderr
    assert load_sidecar(engine) is None
    for path in good.iterdir():
        cv2.imwrite(str(path), 255 - read_image(path))
    assert invoke("threshold", engine, "--images", good, "--parts-from", "each").returncode == 0


def _decided_by(engine: Path) -> str:
    sidecar = load_sidecar(engine)
    assert sidecar is not None and sidecar.threshold is not None
    return sidecar.threshold.decided_by
