"""Normal images to set a threshold from: folders and sources."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.calibration.thresholds.images import ImageFolder, SourceFrames
from edge_ad.errors import DataError, SourceLost, UsageError
from edge_ad.files import sha256_of
from tests.part_images import part


def write(path: Path, image: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def test_a_folder_gives_its_images_and_names_those_that_cannot_be_read(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{seed}.png", part(seed)) for seed in range(2)]
    (tmp_path / "9.png").write_bytes(b"not an image")
    images = ImageFolder(tmp_path)
    for _ in range(2):
        assert [name for name, _ in images] == ["0.png", "1.png"]
    assert list(images.left_out) == ["9.png"] and len(images) == 3
    assert images.sha256() == sha256_of(paths)


def test_a_covered_lens_sets_no_threshold(tmp_path: Path) -> None:
    write(tmp_path / "0.png", part(0))
    write(tmp_path / "dark.png", np.zeros((120, 160, 3), np.uint8))
    images = ImageFolder(tmp_path)
    assert [name for name, _ in images] == ["0.png"]
    assert "black" in images.left_out["dark.png"]


def test_a_folder_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "9.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"none of the 1 images.*9\.png"):
        list(ImageFolder(tmp_path))


def test_a_video_gives_its_frames_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "parts.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    for seed in range(6):
        writer.write(part(seed))
    writer.release()
    assert [name for name, _ in SourceFrames(str(path))] == [f"frame {i}" for i in range(6)]
    assert len(list(SourceFrames(str(path), 4))) == 4
    assert SourceFrames(str(path)).sha256() == sha256_of([path])


def test_a_camera_needs_a_limit_and_has_no_identity(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--frames"):
        list(SourceFrames("pattern://?fps=30"))
    with pytest.raises(UsageError, match="limit it with --frames"):
        list(SourceFrames(f"watch:{tmp_path}"))
    some = SourceFrames("pattern://?fps=200", 3)
    assert 1 <= len(list(some)) <= 3 and some.sha256() == ""


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceLost, match="nowhere"):
        list(SourceFrames(str(tmp_path / "nowhere")))
