"""The depth of sensor values: found once for a folder, held to by every image."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import DataError, IncompatibleError
from edge_ad.images import (
    BitDepth,
    ImageReader,
    agreed_depth,
    find_depth,
    list_images,
    read_image,
    to_bgr8,
)
from tests.images.files import encoded, with_chunk


def values(top: int, seed: int = 0) -> NDArray[np.uint16]:
    grey = np.random.default_rng(seed).integers(0, top + 1, (16, 24)).astype(np.uint16)
    grey[0, 0] = top
    return grey


def folder_of(folder: Path, *tops: int) -> list[Path]:
    for index, top in enumerate(tops):
        image: NDArray[Any] = values(top, index)
        image = image.astype(np.uint8) if top == 255 else image
        assert cv2.imwrite(str(folder / f"{index:02d}.png"), image)
    return list_images(folder)


@pytest.mark.parametrize(
    ("tops", "bits"),
    [
        ((1023, 900), 10),
        ((4031, 3000, 700), 12),
        ((4096,), 14),
        ((65535, 20000), 16),
        ((255, 255), 8),
    ],
)
def test_the_depth_is_the_smallest_that_holds_all_values(
    tmp_path: Path, tops: tuple[int, ...], bits: int
) -> None:
    assert find_depth(folder_of(tmp_path, *tops)).bits == bits


def test_every_image_is_shifted_by_the_depth_of_the_folder(tmp_path: Path) -> None:
    paths = folder_of(tmp_path, 4031, 700)
    read = ImageReader(find_depth(paths))
    for index, path in enumerate(paths):
        grey = (values((4031, 700)[index], index) >> 4).astype(np.uint8)
        np.testing.assert_array_equal(read(path)[:, :, 0], grey)


@pytest.mark.parametrize("tops", [(200, 100), (1000, 1000, 1000, 30000)])
def test_values_that_allow_no_answer_are_refused(tmp_path: Path, tops: tuple[int, ...]) -> None:
    paths = folder_of(tmp_path, *tops)
    with pytest.raises(DataError, match=r"\.png: the sensor's bit depth is not clear.*--bit-depth"):
        find_depth(paths)
    assert find_depth(paths, BitDepth(16)).bits == 16


@pytest.mark.parametrize(
    "tops", [(967, 3871, 950, 3850), (3871, 3700, 3800, 950), (3900, 15000, 15500, 14800, 3600)]
)
def test_images_of_two_sensors_in_one_folder_are_refused(
    tmp_path: Path, tops: tuple[int, ...]
) -> None:
    paths = folder_of(tmp_path, *tops)
    with pytest.raises(DataError, match=r"\.png: the sensor's bit depth is not clear: \d of .*fit"):
        find_depth(paths)
    assert find_depth(paths, BitDepth(14)).bits == 14


@pytest.mark.parametrize("tops", [(3871, 300, 3700), (3871, 1900, 3700), (4000, 600, 650, 3900)])
def test_dark_images_of_one_sensor_are_not_taken_for_another(
    tmp_path: Path, tops: tuple[int, ...]
) -> None:
    assert find_depth(folder_of(tmp_path, *tops)).bits == 12


def test_one_image_of_another_depth_is_refused_by_name(tmp_path: Path) -> None:
    paths = folder_of(tmp_path, 4000, 4001, 255)
    read = ImageReader(find_depth(paths))
    with pytest.raises(DataError, match=r"02\.png: pixels have 8 bits, expected 12"):
        read(paths[2])
    paths = folder_of(tmp_path, 255, 255, 4001)
    read = ImageReader(find_depth(paths))
    with pytest.raises(DataError, match=r"02\.png: values have 16 bits .* 8 bits are expected"):
        read(paths[2])


def test_a_depth_that_the_files_name_counts_more_than_their_values(tmp_path: Path) -> None:
    png = with_chunk(encoded(values(900), "PNG"), b"sBIT", b"\x0c")
    (tmp_path / "a.png").write_bytes(png)
    depth = find_depth([tmp_path / "a.png"])
    assert (depth.bits, depth.origin) == (12, "named by the files")
    assert read_image(tmp_path / "a.png")[0, 0, 0] == 900 >> 4
    with pytest.raises(DataError, match="the file names 12-bit values, expected 14"):
        ImageReader(BitDepth(14, "of others", given=False))(tmp_path / "a.png")
    assert ImageReader(BitDepth(14))(tmp_path / "a.png")[0, 0, 0] == 900 >> 6


def test_a_png_may_spread_the_depth_that_it_names_over_16_bits(tmp_path: Path) -> None:
    """As PNG asks of its writers; others store the sensor's values as they are."""
    spread = values(900) << 4  # of a sensor with 12 bits
    for name in ("a.png", "b.png"):
        png = with_chunk(encoded(spread, "PNG"), b"sBIT", b"\x0c")
        (tmp_path / name).write_bytes(png)
    depth = find_depth(list_images(tmp_path))
    assert depth.bits == 16
    for read in (read_image, ImageReader(depth)):
        np.testing.assert_array_equal(
            read(tmp_path / "a.png")[:, :, 0], (spread >> 8).astype(np.uint8)
        )


def test_deep_values_that_count_down_from_white_are_refused(tmp_path: Path) -> None:
    pixels = values(60000)
    cv2.imwrite(str(tmp_path / "a.tif"), pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    data = (tmp_path / "a.tif").read_bytes()
    photometric = struct.pack("<HHII", 262, 3, 1, 1)
    assert data.count(photometric) == 1
    (tmp_path / "a.tif").write_bytes(data.replace(photometric, struct.pack("<HHII", 262, 3, 1, 0)))
    with pytest.raises(DataError, match=r"a\.tif: its values count down from white"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.pgm", b"P5\n# camera\n24 16\n4095\n" + values(900).astype(">u2").tobytes()),
        ("a.tif", encoded(values(900), "TIFF", tiffinfo={281: 4095})),
    ],
)
def test_pgm_and_tiff_name_their_largest_value(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert find_depth([tmp_path / name]).bits == 12
    assert read_image(tmp_path / name)[0, 0, 0] == 900 >> 4


def test_files_that_name_different_depths_are_refused(tmp_path: Path) -> None:
    for bits in (10, 12):
        png = with_chunk(encoded(values(900), "PNG"), b"sBIT", bytes([bits]))
        (tmp_path / f"{bits}.png").write_bytes(png)
    with pytest.raises(DataError, match=r"10\.png has 10-bit values and .*12\.png 12-bit ones"):
        find_depth(list_images(tmp_path))


def test_a_camera_without_a_known_depth_is_refused() -> None:
    with pytest.raises(DataError, match=r"gst: values have 16 bits .* depth is not known"):
        to_bgr8(values(4000), "gst")
    image = to_bgr8(values(4000), "gst", 12)
    assert image.shape[2] == 3 and (image[0, 0] == 4000 >> 4).all()


def test_an_engine_keeps_to_the_depth_of_its_training() -> None:
    trained = agreed_depth("a.onnx", 12, None)
    assert trained is not None and trained.bits == 12 and not trained.given
    assert agreed_depth("a.onnx", 8, 12) == BitDepth(12)  # `capture` saves 8 bits
    assert agreed_depth("a.onnx", None, None) is None
    with pytest.raises(IncompatibleError, match=r"a\.onnx was trained on 12-bit images"):
        agreed_depth("a.onnx", 12, 16)
