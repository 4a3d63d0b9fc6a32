from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_ad.errors import DataError
from edge_ad.images import list_images, read_image, read_mask, write_image

COLOUR = np.random.default_rng(1).integers(0, 256, (24, 36, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param(COLOUR, COLOUR, id="colour"),
        pytest.param(COLOUR[:, :, 0], COLOUR[:, :, :1].repeat(3, 2), id="grey"),
        pytest.param(np.dstack([COLOUR, COLOUR[:, :, :1]]), COLOUR, id="alpha is dropped"),
        pytest.param(COLOUR.astype(np.uint16) * 257, COLOUR, id="16 bits keep the upper 8"),
        pytest.param(
            COLOUR[:, :, 0].astype(np.uint16) * 257,
            COLOUR[:, :, :1].repeat(3, 2),
            id="16 bit grey",
        ),
    ],
)
def test_every_pixel_type_becomes_bgr8(tmp_path: Path, stored: object, expected: object) -> None:
    path = tmp_path / "a.png"
    assert cv2.imwrite(str(path), np.asarray(stored))
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("kept", [0, 1, 40, 0.5, 0.9])
def test_a_truncated_image_is_an_error(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, COLOUR)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept if kept >= 1 else kept * len(data))])
    with pytest.raises(DataError, match=str(path)):
        read_image(path)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_never_crash_the_reader(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.png"
    path.write_bytes(data)
    with pytest.raises(DataError):
        read_image(path)


def test_float_images_are_errors_because_their_range_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    assert cv2.imwrite(str(path), np.ones((8, 8), np.float32))
    with pytest.raises(DataError, match="float32"):
        read_image(path)


def test_a_mask_is_true_above_127(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    cv2.imwrite(str(path), np.array([[0, 127, 128, 255]], np.uint8))
    assert read_mask(path).tolist() == [[False, False, True, True]]


def test_listing_skips_other_and_hidden_files(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.JPG", "b.png"]
