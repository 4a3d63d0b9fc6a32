"""Images are recognised again."""

from __future__ import annotations

import shutil
from pathlib import Path

from edge_ad.data_split import ImageSet
from edge_ad.images import read_image, write_image
from edge_ad.parts import identify
from tests.conftest import part_image


def test_an_image_is_known_by_another_name_or_saved_again(tmp_path: Path) -> None:
    original, copy, again = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.bmp"
    write_image(original, part_image())
    shutil.copy(original, copy)
    write_image(again, read_image(original))
    known = ImageSet.of([identify(original)], [])
    assert known.has_image(*identify(copy)) and known.has_image(*identify(again))
    assert identify(again).file != identify(original).file


def test_another_image_is_not_known(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", part_image(seed=1))
    write_image(tmp_path / "b.png", part_image(seed=2))
    known = ImageSet.of([identify(tmp_path / "a.png")], [])
    assert not known.has_image(*identify(tmp_path / "b.png"))


def test_equal_bytes_of_another_shape_are_another_image(tmp_path: Path) -> None:
    image = part_image(hw=(32, 64))
    write_image(tmp_path / "a.png", image)
    write_image(tmp_path / "b.png", image.reshape(64, 32, 3))
    assert identify(tmp_path / "a.png").pixels != identify(tmp_path / "b.png").pixels
