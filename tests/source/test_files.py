"""Videos, images and folders: every frame, in order, and a clean end."""

from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_ad.errors import SourceLost
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.images import write_image
from edge_ad.sample.footage import write_video
from edge_ad.source import open_source

pytestmark = pytest.mark.timeout(60)


def grabs_of(uri: Path) -> list[Grab]:
    with open_source(str(uri)) as source:
        assert not source.live
        grabs = list(source)
        assert source.dropped == 0
    return grabs


def video(path: Path, frames: int) -> Path:
    images = (np.full((48, 64, 3), 20 + 5 * index, np.uint8) for index in range(frames))
    write_video(path, images)
    return path


def test_every_frame_of_a_video_comes_in_order(tmp_path: Path) -> None:
    grabs = grabs_of(video(tmp_path / "a.mp4", 20))
    assert [grab.index for grab in grabs] == list(range(20))
    levels = [float(grab.image.mean()) for grab in grabs if isinstance(grab, Frame)]
    assert levels == pytest.approx([20 + 5 * index for index in range(20)], abs=4)


def test_a_truncated_mp4_is_refused(tmp_path: Path) -> None:
    whole = video(tmp_path / "a.mp4", 20)
    half = tmp_path / "half.mp4"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(SourceLost, match="cannot open it as a video"):
        grabs_of(half)  # an .mp4 keeps its index at the end


def noisy_avi(path: Path) -> bytes:
    """Return an .avi of 20 frames: unlike an .mp4, it can be read up to where it is cut."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    random = np.random.default_rng(0)
    for _ in range(20):
        writer.write(random.integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    return path.read_bytes()


def test_a_video_that_ends_mid_frame_delivers_what_decodes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = noisy_avi(tmp_path / "a.avi")
    (tmp_path / "half.avi").write_bytes(content[: len(content) // 2])
    grabs = grabs_of(tmp_path / "half.avi")
    assert 5 <= len(grabs) <= 15
    assert all(isinstance(grab, Frame) for grab in grabs)
    assert f"the header says 20 frames, {len(grabs)} decoded" in caplog.text


def test_frames_after_a_corrupt_passage_are_read_and_those_in_it_are_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One corrupt packet must not end the video: later frames decode again."""
    path = video(tmp_path / "a.mp4", 20)
    failing, reads = {5, 6, 18, 19}, itertools.count()

    class Corrupt:
        def __init__(self, name: str) -> None:
            self._capture = capture(name)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._capture, name)

        def read(self) -> Any:
            read, image = self._capture.read()
            return (False, None) if next(reads) in failing else (read, image)

    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Corrupt)
    grabs = grabs_of(path)
    assert [grab.index for grab in grabs] == list(range(18))
    bad = [grab for grab in grabs if isinstance(grab, BadFrame)]
    assert [grab.index for grab in bad] == [5, 6] and "does not decode" in bad[0].reason


def test_a_video_without_a_frame_that_decodes_is_a_lost_source(tmp_path: Path) -> None:
    content = noisy_avi(tmp_path / "a.avi")
    (tmp_path / "none.avi").write_bytes(content[: content.index(b"movi") + 20])
    with pytest.raises(SourceLost, match="no frame of the video can be decoded"):
        grabs_of(tmp_path / "none.avi")


def test_a_header_with_more_frames_than_the_video_is_reported(
    shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = shared / "data" / "videos" / "counter_conveyor.mp4"
    if not path.exists():
        pytest.skip(f"no {path.name} there")
    with caplog.at_level(logging.WARNING), open_source(str(path)) as source:
        assert sum(1 for _ in source) == 372
    assert "the header says 374 frames, 372 decoded" in caplog.text


def test_an_image_is_a_source_of_one_frame(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.full((8, 9, 3), 7, np.uint8))
    (grab,) = grabs_of(tmp_path / "a.png")
    assert isinstance(grab, Frame) and grab.image.shape == (8, 9, 3) and grab.file == "a.png"


def test_a_mixed_folder_gives_frames_by_name_and_bad_frames_for_the_unreadable(
    tmp_path: Path,
) -> None:
    write_image(tmp_path / "a.png", np.full((8, 9, 3), 7, np.uint8))
    write_image(tmp_path / "b-grey.png", np.full((20, 30), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "c-deep.png"), np.full((6, 6), 0x4080, np.uint16))
    (tmp_path / "d-empty.png").touch()
    (tmp_path / "e-noise.jpg").write_bytes(b"not an image")
    write_image(tmp_path / "f-cut.jpg", np.zeros((64, 64, 3), np.uint8))
    os.truncate(tmp_path / "f-cut.jpg", 300)
    (tmp_path / "notes.txt").write_text("no image")
    grabs = grabs_of(tmp_path)
    shown = {grab.file: grab.image.shape for grab in grabs if isinstance(grab, Frame)}
    assert shown == {"a.png": (8, 9, 3), "b-grey.png": (20, 30, 3), "c-deep.png": (6, 6, 3)}
    deep = next(grab for grab in grabs if grab.file == "c-deep.png")
    assert isinstance(deep, Frame) and (deep.image == 0x40).all()
    bad = [grab for grab in grabs if isinstance(grab, BadFrame)]
    assert [grab.file for grab in bad] == ["d-empty.png", "e-noise.jpg", "f-cut.jpg"]
    assert all(grab.reason for grab in bad)
    assert [grab.index for grab in grabs] == list(range(6))


def test_a_folder_without_a_readable_image_fails_after_its_bad_frames(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    with open_source(str(tmp_path)) as source:
        grabs = iter(source)
        assert all(isinstance(grab, BadFrame) for grab in itertools.islice(grabs, 2))
        with pytest.raises(SourceLost, match=r"none of the 2 images .*a\.png: the file is empty"):
            next(grabs)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.mp4", None, "no such file or folder"),
        ("empty.mp4", b"", "cannot open it as a video"),
        ("text.mp4", b"hello" * 100, "cannot open it as a video"),
        ("read.me", b"hello", "cannot open it as a video"),
    ],
)
def test_a_file_that_is_not_a_video_is_a_lost_source(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceLost, match=message):
        open_source(str(tmp_path / name))


def test_an_empty_folder_is_a_lost_source(tmp_path: Path) -> None:
    with pytest.raises(SourceLost, match="no images in it"):
        open_source(str(tmp_path))


def test_leaving_a_long_video_early_does_not_wait_for_it(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", 40)
    with open_source(str(path)) as source:
        assert next(iter(source)).index == 0


def test_frames_carry_the_name_of_their_source(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", 3)
    for uri in (str(path), f"file://{path}", "pattern://?fps=0&frames=3"):
        with open_source(uri) as source:
            assert source.name == uri
            assert {grab.source for grab in source} == {uri}
