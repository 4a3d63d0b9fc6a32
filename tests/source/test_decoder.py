"""Damaged video: frames that the decoder complains of, and those that depend on them."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from edge_ad.frame import BadFrame, Frame, Grab
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
