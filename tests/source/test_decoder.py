"""Damaged video: frames that the decoder complains of, and those that depend on them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge_ad.errors import SourceLost
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.images import BitDepth
from edge_ad.source import open_source
from edge_ad.source.base import SourceRequest
from edge_ad.source.decoder import VideoDecoder
from edge_ad.uri import Uri
from tests.source.encoded import encode_video, scrambled

FRAMES = 36
CLEAR = 40  # grey levels; what a decoder fills in differs by more


def grabs_of(path: Path, video: bytes) -> list[Grab]:
    path.write_bytes(video)
    with open_source(str(path)) as source:
        return list(source)


@pytest.mark.parametrize(
    ("codec", "options", "damaged"),  # packet 12 holds a key frame, that of 14 depends on it
    [
        pytest.param("libx264", {}, 12, id="h264, key frame"),
        pytest.param("libx264", {}, 14, id="h264, while a whole key frame is held back"),
        pytest.param("libx264", {"slices": "4"}, 12, id="h264 in slices"),
        pytest.param("libx264", {"x264-params": "cabac=0"}, 14, id="h264 baseline coding"),
        pytest.param("mpeg4", {}, 12, id="mpeg4"),
    ],
)
def test_no_frame_with_filled_in_pixels_is_judged(
    tmp_path: Path, codec: str, options: dict[str, str], damaged: int
) -> None:
    whole = encode_video(codec, frames=FRAMES, options=options)
    expected = grabs_of(tmp_path / "whole.mkv", whole)
    assert len(expected) == FRAMES and all(isinstance(grab, Frame) for grab in expected)
    video = encode_video(codec, frames=FRAMES, options=options, change=scrambled(damaged))
    grabs = grabs_of(tmp_path / "damaged.mkv", video)
    assert len(grabs) == FRAMES
    judged = [grab for grab in grabs if isinstance(grab, Frame)]
    assert FRAMES - 26 <= len(judged) < FRAMES
    assert not [grab.index for grab in judged if differs(grab, expected)]


def differs(grab: Frame, expected: list[Grab]) -> bool:
    """Return whether the frame is none of the whole video's, wherever it stands in it."""
    images = [other.image.astype(int) for other in expected if isinstance(other, Frame)]
    return min(int(np.abs(grab.image - image).max()) for image in images) > CLEAR


def test_frames_are_trusted_again_from_the_next_key_frame(tmp_path: Path) -> None:
    grabs = grabs_of(tmp_path / "a.mkv", encode_video("mpeg4", change=scrambled(13)))
    bad = {grab.index: grab.reason for grab in grabs if isinstance(grab, BadFrame)}
    assert sorted(bad) == list(range(13, 24))
    assert "does not decode" in bad[13] and "depends on a damaged one (frame 13)" in bad[14]


def test_a_stream_is_decoded_without_other_threads() -> None:
    video = encode_video("mpeg4")
    tasks = Path("/proc/self/task")
    before = len(list(tasks.iterdir()))
    with av.open(io.BytesIO(video)) as container:
        stream = container.streams.video[0]
        decoder = VideoDecoder(stream, SourceRequest(Uri("file", "a.mkv"), "video"))
        for packet in container.demux(stream):
            list(decoder.decode(packet))
        assert decoder.decoded and len(list(tasks.iterdir())) <= before


@pytest.mark.parametrize("turn", [(0, 1, -1, 0), (0, -1, 1, 0), (-1, 0, 0, -1)])
def test_a_video_is_turned_as_its_container_asks(tmp_path: Path, turn: tuple[int, ...]) -> None:
    video, path = encode_video("mpeg4", "mp4", frames=2), tmp_path / "turned.mp4"
    start = video.index(b"tkhd") + 44  # of the matrix in the header of the track
    a, b, c, d = (each << 16 for each in turn)
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(video[:start] + matrix + video[start + len(matrix) :])
    with open_source(str(path)) as source:
        frame = next(iter(source))
    assert isinstance(frame, Frame)
    _, expected = cv2.VideoCapture(str(path)).read()
    np.testing.assert_allclose(frame.image, expected, atol=4)


def deep_video(path: Path, values: tuple[int, ...]) -> Path:
    """Write a frame of 16-bit grey for each value."""
    with av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray16le"
        for value in values:
            image = np.full((48, 64), value, np.uint16)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="gray16le")))
        output.mux(stream.encode(None))
    return path


def test_a_deep_grey_video_keeps_the_bits_of_its_sensor(tmp_path: Path) -> None:
    path = deep_video(tmp_path / "deep.mkv", (1000, 3000, 5000))
    with open_source(str(path), bit_depth=BitDepth(12)) as source:
        first, second, third = source
    assert isinstance(first, Frame) and (first.image == 1000 >> 4).all()
    assert isinstance(second, Frame) and (second.image == 3000 >> 4).all()
    assert isinstance(third, BadFrame) and "a value of 5000 does not fit" in third.reason
    with open_source(str(path)) as source, pytest.raises(SourceLost, match="no frame"):
        grabs = []
        for grab in source:
            grabs.append(grab)
            assert isinstance(grab, BadFrame) and "the sensor's depth is not known" in grab.reason
    assert len(grabs) == 3
