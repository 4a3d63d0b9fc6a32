"""Frames to compare artefacts on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_ad.errors import DataError
from edge_ad.export.comparison_frames import comparison_frames, folder_frames, generated_frames
from edge_ad.geometry import Geometry
from edge_ad.images import write_image
from edge_ad.manifest import Manifest

MANIFEST = Manifest(method="tiny", size_hw=(8, 12))


def write_images(folder: Path, count: int) -> None:
    for index in range(count):
        write_image(folder / f"{index}.png", np.full((20, 30, 3), index, np.uint8))


def test_generated_frames_are_the_same_every_time() -> None:
    np.testing.assert_array_equal(generated_frames((16, 24), 5), generated_frames((16, 24), 5))


def test_generated_frames_include_black_and_white() -> None:
    frames = generated_frames((16, 24), 4)
    assert (frames[0].max(), frames[1].min()) == (0, 255)
    assert len({frame.tobytes() for frame in frames}) == 4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_number_of_generated_frames_is_exact(count: int) -> None:
    assert generated_frames((16, 24), count).shape == (count, 16, 24, 3)


def test_images_are_picked_evenly_from_all_folders_but_masks(tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "good", 9)
    write_image(tmp_path / "ground_truth" / "hole" / "0_mask.png", np.full((20, 30), 99, np.uint8))
    frames = folder_frames(tmp_path, MANIFEST, 3)
    assert frames.shape == (3, 8, 12, 3)
    assert frames[:, 0, 0, 0].tolist() == [0, 4, 8]


def test_each_tile_is_a_frame(tmp_path: Path) -> None:
    write_images(tmp_path, 2)
    manifest = MANIFEST.replace(geometry=Geometry(tiles=(1, 2)))
    assert comparison_frames(manifest, tmp_path, 10).originals == 4


def test_few_frames_of_many_tiles_come_from_all_images_and_places(tmp_path: Path) -> None:
    for index in range(6):
        image = np.full((20, 40, 3), 10 * index, np.uint8)
        image[:, 20:] += 5
        write_image(tmp_path / f"{index}.png", image)
    manifest = MANIFEST.replace(geometry=Geometry(tiles=(1, 2)))
    frames = folder_frames(tmp_path, manifest, 4)
    assert frames[:, 4, 8, 0].tolist() == [0, 10, 30, 55]


def test_every_image_comes_with_an_anomalous_copy_the_same_every_time(tmp_path: Path) -> None:
    write_images(tmp_path, 3)
    images, given, _ = comparison_frames(MANIFEST, tmp_path, 10)
    assert (given, len(images)) == (3, 6)
    assert images[:3, 0, 0, 0].tolist() == [0, 1, 2]
    assert (images[3:] != images[:3]).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(images, comparison_frames(MANIFEST, tmp_path, 10).images)


def test_an_unreadable_image_is_left_out(tmp_path: Path) -> None:
    write_images(tmp_path, 2)
    (tmp_path / "1.png").write_bytes(b"no image")
    assert len(folder_frames(tmp_path, MANIFEST, 10)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such folder", id="missing"),
        pytest.param([], "no images in it", id="empty"),
        pytest.param(["0.png"], "none of the 1 images can be read", id="all unreadable"),
    ],
)
def test_folders_without_images_are_refused(
    content: list[str] | None, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    if content is not None:
        folder.mkdir()
    for name in content or []:
        (folder / name).write_bytes(b"")
    with pytest.raises(DataError, match=message):
        comparison_frames(MANIFEST, folder, 4)


@pytest.mark.parametrize("bit_depth", [None, 12])
def test_values_of_12_bits_are_read_as_trained_or_as_found(
    tmp_path: Path, bit_depth: int | None
) -> None:
    values = np.full((16, 16), 100 << 4, np.uint16)
    values[0, 0] = 4000
    for name in "abc":
        write_image(tmp_path / f"{name}.png", values)  # type: ignore[arg-type]
    manifest = MANIFEST.replace(bit_depth=bit_depth)
    assert np.median(folder_frames(tmp_path, manifest, 3)) == 100
