"""Frames of an H.264 stream that never arrive, and the frames that depend on them."""

from __future__ import annotations

import io
import logging

import av
import numpy as np
import pytest

from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.source.base import SourceRequest
from edge_ad.source.decoder import VideoDecoder
from edge_ad.source.h264 import FrameNumbers
from edge_ad.uri import Uri
from tests.source.encoded import KEY_EVERY, encode_video

FRAMES = 3 * KEY_EVERY
CLEAR = 40  # grey levels; what stands for a lost frame differs by more


def grabs_without(
    lost: frozenset[int], options: dict[str, str], kind: str = "mpegts"
) -> list[Grab]:
    """Return what a stream gives whose packets in `lost` do not arrive."""
    video = encode_video("libx264", kind, FRAMES, options)
    with av.open(io.BytesIO(video)) as container:
        stream = container.streams.video[0]
        decoder = VideoDecoder(stream, SourceRequest(Uri("rtsp", "10.0.0.5/live"), "top"))
        packets = enumerate(container.demux(stream))
        return [grab for number, packet in packets if number not in lost
                for grab in decoder.decode(packet)]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"tune": "zerolatency"}, id="without B frames"),
        pytest.param({"tune": "zerolatency", "profile": "baseline"}, id="baseline"),
        pytest.param({"bf": "0", "x264-params": "cqm=jvt"}, id="with tables of scales"),
        pytest.param({"bf": "2", "x264-params": "b-pyramid=none"}, id="with B frames"),
        pytest.param({"x264-params": "slices=4:bframes=0"}, id="in slices"),
        pytest.param({"x264-params": "ref=4:bframes=0"}, id="with several references"),
    ],
)
def test_what_depends_on_a_lost_frame_is_not_judged(options: dict[str, str]) -> None:
    whole = grabs_without(frozenset(), options)
    assert [type(grab) for grab in whole] == [Frame] * FRAMES
    grabs = grabs_without(frozenset({KEY_EVERY + 4}), options)
    frames = [grab for grab in grabs if isinstance(grab, Frame)]
    assert FRAMES - KEY_EVERY <= len(frames) < FRAMES - 1
    assert not [frame.index for frame in frames if differs(frame, whole)]


def differs(frame: Frame, whole: list[Grab]) -> bool:
    """Return whether the frame is none of the whole stream's."""
    images = [other.image.astype(int) for other in whole if isinstance(other, Frame)]
    return min(int(np.abs(frame.image - image).max()) for image in images) > CLEAR


def test_the_reason_is_given_and_the_next_key_frame_ends_it() -> None:
    grabs = grabs_without(frozenset({4}), {"tune": "zerolatency"})
    bad = {grab.index: grab.reason for grab in grabs if isinstance(grab, BadFrame)}
    assert sorted(bad) == list(range(4, KEY_EVERY - 1))
    assert set(bad.values()) == {"the frame depends on a damaged one (it did not arrive)"}


def test_a_lost_key_frame_spoils_all_up_to_the_next_one() -> None:
    grabs = grabs_without(frozenset({KEY_EVERY}), {"tune": "zerolatency"})
    kinds = [type(grab) for grab in grabs]
    assert kinds.count(Frame) == FRAMES - KEY_EVERY  # FFmpeg shows few of the others
    assert BadFrame in kinds


@pytest.mark.parametrize("options", [{"tune": "zerolatency"}, {"bf": "3"}])
def test_a_matroska_file_has_no_gaps(options: dict[str, str]) -> None:
    grabs = grabs_without(frozenset(), options, "matroska")
    assert [type(grab) for grab in grabs] == [Frame] * FRAMES


def test_frames_that_nothing_depends_on_may_be_lost() -> None:
    """A B frame between two others: encoders leave them out, too."""
    options = {"bf": "1", "x264-params": "b-pyramid=none:b-adapt=0:scenecut=0"}
    video = encode_video("libx264", "mpegts", FRAMES, options)
    with av.open(io.BytesIO(video)) as container:
        data = [bytes(packet) for packet in container.demux(video=0)]
    numbers = FrameNumbers("top")
    assert not [unit for unit in data[:2] + data[3:] if numbers.have_gap(unit)]


def test_numbers_that_all_have_gaps_are_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    video = encode_video("libx264", "mpegts", FRAMES, {"tune": "zerolatency", "g": "100"})
    with av.open(io.BytesIO(video)) as container:
        data = [bytes(packet) for packet in container.demux(video=0)][::2]
    numbers = FrameNumbers("top")
    with caplog.at_level(logging.WARNING):
        gaps = [numbers.have_gap(packet) for packet in [*data, *data, *data]]
    assert any(gaps[:18]) and not any(gaps[20:])
    assert caplog.text.count("numbers its frames against the standard") == 1


def unit(kind: int, *fields: str) -> bytes:
    """Return a NAL unit of these bits in an Annex B stream."""
    bits = "".join(fields) + "1"
    size = -(-len(bits) // 8)
    return b"\0\0\1" + bytes([kind]) + int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big")


def count(value: int) -> str:
    """Return an Exp-Golomb code."""
    return f"{value + 1:b}".rjust(2 * (value + 1).bit_length() - 1, "0")


def signed(value: int) -> str:
    return count(2 * value - 1 if value > 0 else -2 * value)


WHOLE = "1" + "1" * 16, "1" + "1" * 64
SCALES = ["1" + signed(-8), WHOLE[0], *"000", "1" + signed(127) + signed(121), WHOLE[1], *"00000"]
"""Whether there is a list, and its differences: of one that begins with 0, ends early, is whole."""


@pytest.mark.parametrize("chroma", ["", "without lists", "444", "with lists", "444 with lists"])
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("gaps", ["0", "1"])
def test_numbers_are_read_whatever_the_stream_says_before_them(
    chroma: str, order: int, gaps: str
) -> None:
    """Of H.264, 7.3.2.1.1: numbers of 6 bits, and whether some may be missing."""
    full = chroma.startswith("444")
    high = (count(3) + "0" if full else count(1)) + count(2) * 2 + "0" if chroma else ""
    if "with lists" in chroma:
        high += "1" + "".join(SCALES[: 12 if full else 8])
    elif chroma:
        high += "0"
    orders = {0: count(5), 1: "0" + count(7) + count(9) + count(2) + count(3) * 2, 2: ""}
    profile = f"{244 if chroma else 66:08b}"
    fields = (high, count(2), count(order) + orders[order], count(1), gaps)
    numbers = FrameNumbers("top", unit(0x67, profile, "0" * 16, count(0), *fields))
    sent = [62, 63, 0, 2]
    slices = [unit(0x41, count(0), count(5), count(0), f"{number:06b}") for number in sent]
    assert [numbers.have_gap(one) for one in slices] == [False] * 3 + [gaps == "0"]


@pytest.mark.parametrize(
    "data", [b"", b"\0\0\1", b"\0\0\1\x67", b"\0\0\1\x67\x64\0\x1f", b"x" * 99]
)
def test_packets_that_are_cut_off_have_no_gap(data: bytes) -> None:
    assert not FrameNumbers("top", data).have_gap(data)
