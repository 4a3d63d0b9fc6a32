"""Where good images come from, and which of them show something new."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.calibration.thresholds.images import ImageFolder, SourceFrames
from edge_ad.dedup import Deduplicator
from edge_ad.errors import DataError, SourceLost, UsageError
from edge_ad.files import sha256_of
from edge_ad.geometry import Geometry


def part(seed: int, hw: tuple[int, int] = (120, 160)) -> NDArray[np.uint8]:
    """A part with a grey texture of blotches, as different from another as real parts are."""
    fine = np.random.default_rng(seed).normal(0, 36, hw).astype(np.float32)
    grey = 120 + cv2.GaussianBlur(fine, (0, 0), 4)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def noisy(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(9).normal(0, sigma, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def recompressed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(part(1), True, id="the very image"),
        pytest.param(noisy(part(1), 3), True, id="the same part with the sensor's noise"),
        pytest.param(recompressed(part(1)), True, id="a recompressed copy"),
        pytest.param(part(2), False, id="another part"),
        pytest.param(np.roll(part(1), 8, axis=1), False, id="the part moved on"),
        pytest.param(part(1) // 2 + 10, False, id="the part in other light"),
    ],
)
def test_what_repeats_a_image(other: NDArray[np.uint8], *, same: bool) -> None:
    distinct = Deduplicator(Geometry())
    assert distinct.repeats(part(1)) is None
    assert (distinct.repeats(other) == 0) is same


def test_the_repeated_image_is_named_by_its_number_among_hundreds() -> None:
    distinct = Deduplicator(Geometry())
    assert [distinct.repeats(part(seed)) for seed in range(150)] == [None] * 150
    assert [distinct.repeats(part(seed)) for seed in (149, 0, 77)] == [149, 0, 77]


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(roi_xywh=(0, 0, 160, 60)),
        Geometry(ignore=(((0, 60), (160, 60), (160, 120), (0, 120)),)),
    ],
    ids=["region of interest", "ignored polygon"],
)
def test_what_the_line_does_not_judge_makes_no_image_new(geometry: Geometry) -> None:
    """A clock or a conveyor in the image would otherwise make every frame a new one."""
    changed = part(1)
    changed[70:] = part(2)[70:]
    distinct = Deduplicator(geometry)
    assert distinct.repeats(part(1)) is None and distinct.repeats(changed) == 0
    assert Deduplicator(Geometry()).repeats(changed) is None


def write(path: Path, image: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def test_a_folder_gives_its_images_and_names_those_that_cannot_be_read(tmp_path: Path) -> None:
    read = [write(tmp_path / f"{seed}.png", part(seed)) for seed in range(2)]
    (tmp_path / "9.png").write_bytes(b"not an image")
    images = ImageFolder(tmp_path)
    assert [name for name, _ in images] == ["0.png", "1.png"]
    assert list(images.left_out) == ["9.png"] and len(images) == 3
    assert images.sha256() == sha256_of(read)


def test_a_covered_lens_sets_no_threshold(tmp_path: Path) -> None:
    write(tmp_path / "0.png", part(0))
    write(tmp_path / "dark.png", np.zeros((120, 160, 3), np.uint8))
    images = ImageFolder(tmp_path)
    assert [name for name, _ in images] == ["0.png"]
    assert "black" in images.left_out["dark.png"]


def test_a_folder_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
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


def test_a_camera_needs_a_limit_and_has_no_identity() -> None:
    with pytest.raises(UsageError, match="--frames"):
        list(SourceFrames("pattern://?fps=30"))
    some = SourceFrames("pattern://?fps=200", 3)
    assert 1 <= len(list(some)) <= 3 and some.sha256() == ""


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceLost, match="nowhere"):
        list(SourceFrames(str(tmp_path / "nowhere")))
