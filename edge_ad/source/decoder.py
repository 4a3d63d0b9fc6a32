"""Decode the packets of a video stream with FFmpeg, and recognise frames that are damaged.

A packet either becomes a frame or is a BadFrame with the decoder's complaint. What depends on a
damaged frame, or on one that never arrived, is damaged too, up to the next key frame that arrived
whole.

One thread decodes: with several, FFmpeg drops the errors of slices and reports others late, and
every thread holds a live camera's frame back for one more.

FFmpeg converts YUV to BGR with the processor's vector instructions, which round otherwise on each
architecture. Here it is asked for exact arithmetic, so that a video has the same pixels everywhere;
those that OpenCV reads are a few grey levels away.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_ad.errors import DataError
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.images import motion_jpeg_damage, to_bgr8
from edge_ad.source.base import SourceRequest
from edge_ad.source.h264 import FrameNumbers

if TYPE_CHECKING:
    from av import VideoFrame
    from av.packet import Packet
    from av.video.stream import VideoStream

_SEVERAL_PACKETS = frozenset({"vp8", "vp9", "av1"})  # a frame and one that is never shown
_NOT_CODED_BYTES = 8  # an MPEG-4 packet of this size repeats the frame before
_EXACT = 0x10 | 0x40000 | 0x80000  # FFmpeg's SWS_POINT, SWS_ACCURATE_RND and SWS_BITEXACT
_HELD_BACK = 64  # more packets than any decoder holds back


class VideoDecoder:
    """Turns the packets of one stream into frames and BadFrames, numbered from 0.

    With `strict`, every breach of the codec's standard is damage, else only what FFmpeg conceals.
    `delivered` counts frames of both kinds, `decoded` those that are whole.
    """

    def __init__(self, stream: VideoStream, request: SourceRequest, *, strict: bool = True) -> None:
        from av.video.reformatter import VideoReformatter

        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode"} if strict else {}
        self._context = stream.codec_context
        self._request = request
        self._converter = VideoReformatter()  # setting one up takes as long as a small frame
        self.decoded = 0
        self.delivered = 0
        self._packets = 0  # that should become a frame each
        self._damaged = ""  # why frames up to the next key frame cannot be trusted
        self._keys: deque[int | None] = deque(maxlen=_HELD_BACK)  # times of key packets since then
        self._reported: deque[int] = deque(maxlen=_HELD_BACK)  # it may show frames it complained of
        self._field_coded = False
        self._numbers: FrameNumbers | None = None
        if self._context.name == "h264":
            self._numbers = FrameNumbers(request.name, self._context.extradata)

    def decode(self, packet: Packet[Any]) -> Iterator[Grab]:
        """Yield the frames that a packet completes; an empty packet gets those held back."""
        from av import FFmpegError

        codec = self._context.name
        placeholder = codec == "mpeg4" and packet.size <= _NOT_CODED_BYTES
        self._packets += bool(packet.size) and not packet.is_discard and not placeholder
        if packet.is_corrupt and packet.size:
            yield self._bad_packet(packet, "the frame is cut off")
            return
        if self._numbers is not None and self._numbers.have_gap(bytes(packet)):
            self._keys.clear()
            self._damaged = self._damaged or "it did not arrive"
        if packet.is_keyframe and packet.size:
            self._keys.append(packet.pts)
        damage = motion_jpeg_damage(bytes(packet)) if codec == "mjpeg" else ""
        try:
            frames = [] if damage else packet.decode()
        except FFmpegError as error:
            damage = reason_of(error)
        if damage and packet.size:
            yield self._bad_packet(packet, f"the frame does not decode ({damage})")
        if damage:
            return
        for frame in frames:
            if frame.pts is None or frame.pts not in self._reported:
                yield self._grab(frame)

    def missing(self) -> Iterator[Grab]:
        """Yield a BadFrame for each packet from which neither an image nor an error came."""
        if self._context.name in _SEVERAL_PACKETS or self._field_coded:
            return
        for _ in range(self._packets - self.delivered):
            yield self._bad("the decoder gave no image for the frame")

    def _grab(self, frame: VideoFrame) -> Grab:
        self._field_coded = self._field_coded or frame.interlaced_frame
        if frame.is_corrupt:
            self._forget_keys(frame.pts)
            return self._bad("the decoder reports damage in the frame")
        if self._damaged and not (frame.key_frame and frame.pts in self._keys):
            return self._bad(f"the frame depends on a damaged one ({self._damaged})")
        self._damaged = ""
        name, index = self._request.name, self.delivered
        try:
            image = to_bgr8(self._pixels(frame), f"{name}, frame {index}", self._bit_depth(frame))
        except DataError as error:
            return self._bad_frame(str(error))
        self.decoded += 1
        self.delivered += 1
        return Frame(image, index, time.monotonic(), name)

    def _pixels(self, frame: VideoFrame) -> np.ndarray[Any, Any]:
        """Return BGR, or the values of a 16-bit grey video, turned as the container asks."""
        kind = "gray16le" if _is_deep(frame) else "bgr24"
        converted = self._converter.reformat(frame, format=kind, interpolation=_EXACT, threads=1)
        pixels = converted.to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))

    def _bit_depth(self, frame: VideoFrame) -> int | None:
        depth = self._request.depth()
        return depth.bits if depth and _is_deep(frame) else None

    def _bad_packet(self, packet: Packet[Any], reason: str) -> BadFrame:
        self._keys.clear()  # an error may come a packet late, so this one's key is not trusted
        if packet.pts is not None:
            self._reported.append(packet.pts)
        return self._bad(reason)

    def _forget_keys(self, until: int | None) -> None:
        """Trust no key frame up to a damaged frame's time, or none where that is unknown."""
        keys = tuple(self._keys)
        self._keys.clear()
        if until is not None:
            self._keys.extend(key for key in keys if key is not None and key > until)

    def _bad(self, reason: str) -> BadFrame:
        """Return a damaged frame, on which the next ones depend."""
        self._damaged = self._damaged or f"frame {self.delivered}"
        return self._bad_frame(reason)

    def _bad_frame(self, reason: str) -> BadFrame:
        bad = BadFrame(reason, self.delivered, time.monotonic(), self._request.name)
        self.delivered += 1
        return bad


def reason_of(error: BaseException) -> str:
    """Return FFmpeg's words for an error, without the address, which may hold a password."""
    return str(getattr(error, "strerror", "") or type(error).__name__)


def _is_deep(frame: VideoFrame) -> bool:
    """Return whether values have 16 bits, of which it is unknown how many are used."""
    return frame.format.name in {"gray16le", "gray16be"}
