from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.dataset import labelled_images, normal_images, readable
from edge_ad.errors import DataError


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.full((8, 8, 3), 99, np.uint8))


@pytest.mark.parametrize("place", ["train/good", "good", "."])
def test_normal_images_are_listed_from_each_layout(tmp_path: Path, place: str) -> None:
    put(tmp_path, f"{place}/b.png", f"{place}/a.png")
    assert [path.name for path in normal_images(tmp_path)] == ["a.png", "b.png"]


@pytest.mark.parametrize("exists", [True, False], ids=["empty", "missing"])
def test_a_folder_without_normal_images_is_an_error(tmp_path: Path, *, exists: bool) -> None:
    folder = tmp_path / "good"
    if exists:
        folder.mkdir()
    with pytest.raises(DataError, match=str(folder)):
        normal_images(folder)


def test_test_images_come_with_their_masks(tmp_path: Path) -> None:
    put(tmp_path, "test/good/g.png", "test/dent/d.png", "ground_truth/dent/d_mask.png")
    normal, dent = labelled_images(tmp_path)
    assert (normal.kind, normal.anomalous, normal.mask) == ("good", False, None)
    assert (dent.kind, dent.anomalous) == ("dent", True)
    assert dent.mask is not None and dent.mask.name == "d_mask.png"


def test_a_type_without_any_mask_is_accepted(tmp_path: Path) -> None:
    put(tmp_path, "test/good/g.png", "test/dent/d.png")
    assert labelled_images(tmp_path)[1].mask is None


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("ground_truth/dent/x_mask.png", "masks have no image.*'x'"),
        ("ground_truth/gone/x_mask.png", "1 of 1 masks have no image in test/gone"),
        ("test/dent/bare.png", "1 of 2 images have no mask.*'bare'"),
    ],
)
def test_images_and_masks_must_pair(tmp_path: Path, extra: str, message: str) -> None:
    put(tmp_path, "test/good/g.png", "test/dent/d.png", "ground_truth/dent/d_mask.png", extra)
    with pytest.raises(DataError, match=message):
        labelled_images(tmp_path)


@pytest.mark.parametrize("names", [[], ["test/dent/d.png"]], ids=["no test", "no good"])
def test_other_layouts_are_errors(tmp_path: Path, names: list[str]) -> None:
    put(tmp_path, *names)
    with pytest.raises(DataError):
        labelled_images(tmp_path)


def test_unreadable_images_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        images = list(readable([tmp_path / "a.png", tmp_path / "b.png"]))
    assert [path.name for path, _ in images] == ["a.png"]
    assert "b.png" in caplog.text


def test_all_unreadable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 1 images"):
        list(readable([tmp_path / "b.png"]))
