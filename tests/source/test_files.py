"""Videos, images and folders: every frame, in order, and a clean end."""

from __future__ import annotations

import itertools
import os
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge_ad
from edge_ad.errors import IncompatibleError, MissingExtra, SourceLost, UsageError
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.images import BitDepth, write_image
from edge_ad.sample.footage import write_video
from edge_ad.source import open_source
from edge_ad.source.open import parse_uri
from edge_ad.uri import Uri

SAMPLE = Path(edge_ad.__file__).parent / "sample"
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


def grabs_until_error(path: Path, message: str) -> list[Grab]:
    grabs: list[Grab] = []
    with open_source(str(path)) as source, pytest.raises(SourceLost, match=message):
        for grab in source:
            grabs.append(grab)
    return grabs


def bad_frames(grabs: list[Grab]) -> list[int]:
    return [grab.index for grab in grabs if isinstance(grab, BadFrame)]


def test_a_video_that_ends_mid_frame_delivers_what_is_there_and_ends_with_an_error(
    tmp_path: Path,
) -> None:
    content = noisy_avi(tmp_path / "a.avi")
    (tmp_path / "half.avi").write_bytes(content[: len(content) // 2])
    grabs = grabs_until_error(
        tmp_path / "half.avi", "ends early: its header says 20 frames, .* are there"
    )
    assert 5 <= len(grabs) <= 15
    assert bad_frames(grabs) == [len(grabs) - 1]
    assert [grab.index for grab in grabs] == list(range(len(grabs)))


def damaged_jpegs(content: bytes, damaged: set[int]) -> bytes:
    """Overwrite the middle of some of the JPEGs of an .avi."""
    data, place = bytearray(content), content.index(b"movi")
    for index in range(20):
        place = content.index(b"00dc", place + 4)
        length = int.from_bytes(content[place + 4 : place + 8], "little")
        if index in damaged:
            middle = place + 8 + length // 2
            data[middle : middle + 300] = b"\xfe" * 300  # no code of the standard tables
    return bytes(data)


@pytest.mark.parametrize("damaged", [{5, 6, 18, 19}, set(range(3, 18)), {0}, set()])
def test_every_frame_of_a_damaged_video_is_judged_or_bad(tmp_path: Path, damaged: set[int]) -> None:
    (tmp_path / "b.avi").write_bytes(damaged_jpegs(noisy_avi(tmp_path / "a.avi"), damaged))
    grabs = grabs_of(tmp_path / "b.avi")
    assert [grab.index for grab in grabs] == list(range(20))
    assert set(bad_frames(grabs)) == damaged


def test_frames_that_depend_on_a_damaged_one_are_bad_and_all_are_counted(
    tmp_path: Path,
) -> None:
    data = bytearray((SAMPLE / "footage.mp4").read_bytes())
    place = data.index(b"mdat") + 20_000
    data[place : place + 200] = bytes(200)
    (tmp_path / "b.mp4").write_bytes(data)
    grabs = grabs_of(tmp_path / "b.mp4")
    assert [grab.index for grab in grabs] == list(range(797))
    bad = [grab for grab in grabs if isinstance(grab, BadFrame)]
    assert any("depends on a damaged one" in grab.reason for grab in bad)


def test_a_video_is_turned_as_its_container_asks(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", 3)
    data = bytearray(path.read_bytes())
    one, turned = struct.pack(">iiiii", 65536, 0, 0, 0, 65536), (0, 65536, 0, -65536, 0)
    place = data.index(one, data.index(b"tkhd"))
    data[place : place + 20] = struct.pack(">iiiii", *turned)
    path.write_bytes(data)
    expected = cv2.VideoCapture(str(path)).read()[1]
    first = grabs_of(path)[0]
    assert isinstance(first, Frame) and first.image.shape == (64, 48, 3)
    np.testing.assert_allclose(first.image, np.asarray(expected), atol=3)


def test_pixels_are_nearly_those_that_opencv_reads(tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(noisy_avi(tmp_path / "b.avi"))
    capture = cv2.VideoCapture(str(tmp_path / "a.avi"))
    for grab in grabs_of(tmp_path / "a.avi"):
        assert isinstance(grab, Frame)
        assert np.abs(grab.image.astype(int) - np.asarray(capture.read()[1])).max() <= 3


def test_a_cut_matroska_file_ends_with_an_error(tmp_path: Path) -> None:
    """Its header has no number of frames, only a duration."""
    import av

    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        random = np.random.default_rng(0)
        for _ in range(30):
            image = random.integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    content = (tmp_path / "a.mkv").read_bytes()
    assert len(grabs_of(tmp_path / "a.mkv")) == 30
    (tmp_path / "b.mkv").write_bytes(content[: len(content) // 2])
    assert 10 <= len(grabs_until_error(tmp_path / "b.mkv", "ends early|stops after")) <= 20
    (tmp_path / "c.mkv").write_bytes(content[:-900])  # within the last frame and what follows it
    assert len(grabs_until_error(tmp_path / "c.mkv", "ends early: .* lacks 900 bytes")) >= 29


def test_without_pyav_a_video_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy_avi(tmp_path / "a.avi")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"a\.avi: reading a video .* 'edge-ad\[video\]'"):
        grabs_of(tmp_path / "a.avi")


@pytest.mark.parametrize(
    ("name", "frames", "bad"),
    [("mjgap70.avi", 300, set(range(100, 170))), ("mjcorrupt.avi", 60, {10, 20, 30, 40, 50})],
)
def test_given_videos(shared: Path, name: str, frames: int, bad: set[int]) -> None:
    path = shared / "faults" / "video" / name
    if not path.exists():
        pytest.skip(f"no {name} there")
    grabs = grabs_of(path)
    assert [grab.index for grab in grabs] == list(range(frames))
    assert set(bad_frames(grabs)) == bad


def test_a_video_without_a_frame_that_decodes_is_a_lost_source(tmp_path: Path) -> None:
    content = noisy_avi(tmp_path / "a.avi")
    (tmp_path / "none.avi").write_bytes(content[: content.index(b"movi") + 20])
    with pytest.raises(SourceLost, match="no frame of the video can be decoded"):
        grabs_of(tmp_path / "none.avi")


def test_text_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("FFmpeg would draw these words.\n" * 40)
    with pytest.raises(SourceLost, match="cannot open it as a video"):
        open_source(str(tmp_path / "notes.txt"))


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
    with open_source(str(tmp_path)) as source:
        grabs = list(source)
        assert [*source.left_out] == ["notes.txt"]
    shown = {grab.file: grab.image.shape for grab in grabs if isinstance(grab, Frame)}
    assert shown == {"a.png": (8, 9, 3), "b-grey.png": (20, 30, 3)}
    bad = [grab for grab in grabs if isinstance(grab, BadFrame)]
    assert [grab.file for grab in bad] == ["c-deep.png", "d-empty.png", "e-noise.jpg", "f-cut.jpg"]
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


def test_a_folder_of_folders_says_which_one_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "dent").mkdir()
    with pytest.raises(SourceLost, match=r"below it are not read: name one of them \(dent, good"):
        open_source(str(tmp_path))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SourceLost, match=r"Left out: 3 files: dent, good, notes\.txt"):
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


def test_a_folder_of_twelve_bit_images_is_read_with_one_depth(tmp_path: Path) -> None:
    for index, top in enumerate((4031, 700)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((20, 30), top, np.uint16))
    levels = [int(grab.image.max()) for grab in grabs_of(tmp_path) if isinstance(grab, Frame)]
    assert levels == [4031 >> 4, 700 >> 4]
    with open_source(str(tmp_path), bit_depth=BitDepth(10)) as source:
        first, second = source
    assert isinstance(first, BadFrame) and "0.png: a value of 4031" in first.reason
    assert isinstance(second, Frame) and second.image.max() == 700 >> 2
    with open_source(f"file://{tmp_path}?bit_depth=14") as source:
        levels = [int(grab.image.max()) for grab in source if isinstance(grab, Frame)]
    assert levels == [4031 >> 6, 700 >> 6]


def test_a_uri_that_contradicts_the_engine_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 30), 4000, np.uint16))
    with pytest.raises(IncompatibleError, match="contradicts the depth of 12 bits"):
        open_source(f"file://{tmp_path}?bit_depth=14", bit_depth=BitDepth(12, "trained"))
    with pytest.raises(UsageError, match="bit_depth must be 8 to 16, got 40"):
        open_source(f"file://{tmp_path}?bit_depth=40")


def test_a_folder_with_the_name_of_a_number_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "20261128" / "a.png", np.full((8, 9, 3), 7, np.uint8))
    monkeypatch.chdir(tmp_path)
    assert parse_uri("20261128").scheme == "file"
    assert parse_uri("20261129") == Uri("v4l2", "/dev/video20261129")


def test_masks_beside_the_images_of_a_folder_are_no_frames(tmp_path: Path) -> None:
    for name in ("Part0.png", "Part0_label.png", "Part1.png", "wide_label.png"):
        write_image(tmp_path / name, np.full((8, 8, 3), 99, np.uint8))
    with open_source(str(tmp_path)) as source:
        assert [grab.file for grab in source] == ["Part0.png", "Part1.png", "wide_label.png"]
        assert source.left_out == {"Part0_label.png": "a mask beside its image"}
