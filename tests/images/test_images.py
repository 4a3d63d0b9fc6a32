from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edge_ad.errors import DataError, OutletLost
from edge_ad.images import (
    encode_image,
    list_folder,
    list_images,
    named,
    read_image,
    write_image,
)
from edge_ad.images.container import check_container, header_of
from tests.beside import Beside
from tests.timing import LIMIT_S

COLOUR = np.random.default_rng(1).integers(0, 256, (24, 36, 3)).astype(np.uint8)
OPAQUE = np.full((24, 36), 255, np.uint8)
LARGE = np.asarray(cv2.resize(COLOUR, (160, 120)), np.uint8)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param(COLOUR, COLOUR, id="colour"),
        pytest.param(COLOUR[:, :, 0], COLOUR[:, :, :1].repeat(3, 2), id="grey"),
        pytest.param(
            np.dstack([COLOUR, np.full((24, 36), 255, np.uint8)]), COLOUR, id="opaque alpha"
        ),
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


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder where temporary files go, OpenCV's too."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("OPENCV_TEMP_PATH", str(folder))
    return folder


def _hdr(width: int, values: bytes = b"") -> bytes:
    return b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 64 +X %d\n" % width + values


@pytest.mark.parametrize("name", ["a.hdr", "a.png"])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_hdr(2_000_000), id="HDR of a size that OpenCV refuses"),
        pytest.param(_hdr(64), id="HDR without values"),
        pytest.param(_hdr(64, b"\x80\x80\x80\x81" * 64 * 64), id="HDR"),
        pytest.param(b"\x76\x2f\x31\x01" * 20, id="OpenEXR cut off"),
        pytest.param(b"no image at all", id="text"),
    ],
)
def test_an_image_that_is_refused_leaves_no_file(
    tmp_path: Path, temporary: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=name):
        read_image(tmp_path / name)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("suffix", [".jp2", ".hdr", ".exr", ".avif", ".no-such-format"])
@pytest.mark.parametrize("shape", [(4, 4, 3), (64, 64, 3), (64, 64, 2)])
def test_writing_an_image_leaves_no_other_file(
    tmp_path: Path, temporary: Path, suffix: str, shape: tuple[int, ...]
) -> None:
    path = tmp_path / f"a{suffix}"
    try:
        write_image(path, np.full(shape, 100, np.uint8))
    except OutletLost as error:
        assert suffix in str(error) and not path.exists()
    else:
        assert cv2.imread(str(path)) is not None
    assert not list(temporary.iterdir())


def test_an_image_that_needs_a_copy_is_refused_without_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.hdr").write_bytes(_hdr(64))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"a\.hdr.*cannot be written"):
        read_image(tmp_path / "a.hdr")


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


def test_listing_skips_other_and_hidden_files_and_names_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b.png", "a.JPG", "c.jfif", "d.JP2", "notes.txt", ".hidden.png", "e.tga", "f"):
        (tmp_path / name).touch()
    (tmp_path / "more.png").mkdir()
    (tmp_path / "gone.png").symlink_to("nowhere")  # fails by name when it is read
    os.mkfifo(tmp_path / "pipe.png")
    listing = list_folder(tmp_path)
    names = [path.name for path in listing.images]
    assert names == ["a.JPG", "b.png", "c.jfif", "d.JP2", "gone.png"]
    assert [*listing.left_out] == [
        ".hidden.png", "e.tga", "f", "more.png", "notes.txt", "pipe.png"
    ]  # fmt: skip
    assert len(listing) == len(list(tmp_path.iterdir()))
    assert list_images(tmp_path) == list(listing.images)
    assert "left out 6 files: .hidden.png, e.tga" in caplog.text


def test_ten_left_out_files_are_named_and_the_others_counted() -> None:
    text = named([f"{index}.txt" for index in range(12)])
    assert text.startswith("12 files: 0.txt") and text.endswith("9.txt and 2 more")


def jpeg() -> bytes:
    return encode_image(LARGE, ".jpg")


def read_bytes(folder: Path, data: bytes) -> NDArray[np.uint8]:
    path = folder / "a.jpg"
    path.write_bytes(data)
    return read_image(path)


def test_a_jpeg_with_half_of_its_data_and_its_end_marker_is_refused(tmp_path: Path) -> None:
    data = jpeg()
    with pytest.raises(DataError, match=r"a\.jpg: the image is truncated or damaged"):
        read_bytes(tmp_path, data[: len(data) // 2] + b"\xff\xd9")


@pytest.mark.parametrize("after", [b"\0" * 5000, b"\xff" * 3, b"serial 123", jpeg()])
def test_bytes_after_the_end_of_a_jpeg_change_nothing(tmp_path: Path, after: bytes) -> None:
    data = jpeg()
    np.testing.assert_array_equal(
        read_bytes(tmp_path, data + after), cv2.imdecode(np.frombuffer(data, np.uint8), 1)
    )


def test_zeros_before_the_end_marker_are_padding_and_other_bytes_are_damage(
    tmp_path: Path,
) -> None:
    data = jpeg()
    assert np.any(read_bytes(tmp_path, data[:-2] + b"\0" * 9 + data[-2:]))
    assert np.any(read_bytes(tmp_path, data[:-2] + b"\x12\x34" + data[-2:]))  # as webcams do
    with pytest.raises(DataError, match="extraneous bytes"):
        read_bytes(tmp_path, data[:-2] + data[-60:-2] + data[-2:])


def test_a_jpeg_damaged_in_the_middle_is_refused(tmp_path: Path) -> None:
    data = jpeg()
    middle = len(data) // 2
    with pytest.raises(DataError, match="truncated or damaged"):
        read_bytes(tmp_path, data[:middle] + bytes(200) + data[middle + 200 :])


def test_a_wrong_checksum_of_a_png_is_refused(tmp_path: Path) -> None:
    data = bytearray(encode_image(LARGE, ".png"))
    data[len(data) // 2] ^= 0x55
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"{path}: "):
        read_image(path)


@pytest.mark.parametrize("read", [header_of, lambda data: check_container(data, "a.png")])
def test_threads_that_read_files_leave_pythons_warnings_as_they_were(
    read: Callable[[bytes], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each hides warnings meanwhile; the second ends after the first."""

    def open_image(file: io.BytesIO) -> Any:
        if second.is_begun:
            first_is_over.wait(LIMIT_S)
        second()
        return pillow_open(file)

    data, first_is_over, pillow_open = encode_image(COLOUR, ".png"), threading.Event(), Image.open
    second, before = Beside(lambda: read(data)), list(warnings.filters)
    monkeypatch.setattr(Image, "open", open_image)
    read(data)
    first_is_over.set()
    second.result()
    assert list(warnings.filters) == before
