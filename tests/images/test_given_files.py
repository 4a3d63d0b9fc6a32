"""The files that users reported, where they are available."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_ad.errors import DataError
from edge_ad.images import find_depth, list_folder, list_images, read_image


@pytest.fixture
def faults(shared: Path) -> Path:
    folder = shared / "faults"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


def test_a_photo_stored_upside_down_is_read_like_its_upright_twin(faults: Path) -> None:
    for photo in (faults / "exif").glob("*.jpg"):
        difference = read_image(photo).astype(int) - read_image(photo.with_suffix(".png"))
        assert np.abs(difference).mean() < 2


def test_twelve_bits_are_read_as_such(faults: Path) -> None:
    paths = list_images(faults / "twelve_bit")
    assert find_depth(paths).bits == 12
    assert all(read_image(path, 12).max() > 128 for path in paths)


def test_jpegs_are_judged_by_their_decoder(faults: Path) -> None:
    assert read_image(faults / "jpeg" / "jpg_trailing.jpg").shape == (240, 320, 3)
    with pytest.raises(DataError, match=r"jpg_half_missing_eoi\.jpg: .* premature end"):
        read_image(faults / "jpeg" / "jpg_half_missing_eoi.jpg")


def test_all_suffixes_are_read_or_named(faults: Path) -> None:
    listing = list_folder(faults / "suffixes")
    assert [path.name for path in listing.images] == ["01.jfif", "03.jp2", "04.gif", "08.PNG"]
    assert [*listing.left_out] == ["05.tga"]
    assert all(read_image(path).shape == (240, 320, 3) for path in listing.images)
