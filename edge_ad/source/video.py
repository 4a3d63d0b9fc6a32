"""Read every frame of a video file, and know of those that are missing or damaged.

OpenCV stops after a damaged passage and passes on what FFmpeg fills in, so FFmpeg is used through
PyAV: each packet is one frame, which decodes without a complaint or is a BadFrame. Pixels are those
that OpenCV would deliver.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_ad.errors import DataError, IncompatibleError, SourceLost
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.images import jpeg_damage, to_bgr8
from edge_ad.source.base import SourceRequest
from edge_ad.source.matroska import missing_bytes

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_SEVERAL_PACKETS = frozenset({"vp8", "vp9", "av1"})  # a frame and one that is never shown
_NOT_CODED_BYTES = 8  # an MPEG-4 packet of this size repeats the frame before
_EARLY_FRAMES = 1.5  # the last frame's length is often rounded
_HUFFMAN_TABLES = b"\xff\xc4"
_NO_VIDEOS = ("tty", "image2")  # FFmpeg's readers of text and of images; images end in _pipe


def open_video(request: SourceRequest, path: Path) -> Iterator[Grab]:
    """Return the frames of a video; those that do not decode are BadFrames.

    Raises SourceLost when it cannot be opened, when no frame decoded, and after the last frame when
    the video ends before its header says.
    """
    container = _open(path)
    try:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"  # threads for frames would report damage late
        stream.codec_context.options = {"err_detect": "explode"}
    except BaseException:
        container.close()
        raise
    return _Video(container, stream, request).grabs()


def _open(path: Path) -> InputContainer:
    try:
        import av
    except ImportError as error:
        raise IncompatibleError(
            f"{path}: videos are read with the package av, which is not installed "
            f"({error}). Install it with: pip install av"
        ) from error
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise SourceLost(
            f"{path}: FFmpeg cannot open it as a video ({_reason(error)}). It may be "
            "truncated, not a video, or need a codec that FFmpeg lacks. Check it with a player, "
            "or record it again."
        ) from error
    kind = container.format.name
    if not container.streams.video or kind in _NO_VIDEOS or kind.endswith("_pipe"):
        container.close()
        raise SourceLost(f"{path}: FFmpeg cannot open it as a video: it is {kind}, without frames.")
    return container


@dataclass
class _Video:
    """The state of reading one video."""

    container: InputContainer
    stream: VideoStream
    request: SourceRequest
    entries: int = 0  # of the file's index, empty ones too
    packets: int = 0  # that should become a frame each
    decoded: int = 0
    delivered: int = 0  # decoded or not
    first: int | None = None  # time of the first packet
    end: int = 0  # time after the last one
    damaged: str = ""  # why frames up to the next key frame cannot be trusted
    field_coded: bool = False
    reported: set[int] = field(default_factory=set)  # a decoder may show a frame it complained of

    def grabs(self) -> Iterator[Grab]:
        """Yield all frames. A packet without an image gives a BadFrame where it was due."""
        try:
            for packet in self._demuxed():
                yield from self._decoded(packet)
            yield from self._missing()
            self._check_end()
        finally:
            self.container.close()

    def _demuxed(self) -> Iterator[Packet[Any]]:
        from av import FFmpegError

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError as error:
                raise SourceLost(
                    f"{self.request.name}: reading stops after {self.delivered} frames: "
                    f"{_reason(error)}. Copy or record the video again."
                ) from error
            if packet is None:
                return
            self._note_time(packet)
            if packet.size or packet.dts is None:  # an empty one would end the decoding
                yield packet

    def _note_time(self, packet: Packet[Any]) -> None:
        start = packet.pts if packet.pts is not None else packet.dts
        if start is not None:
            self.entries += 1
            self.first = start if self.first is None else min(self.first, start)
            self.end = max(self.end, start + (packet.duration or 0))

    def _decoded(self, packet: Packet[Any]) -> Iterator[Grab]:
        from av import FFmpegError

        codec = self.stream.codec_context.name
        placeholder = codec == "mpeg4" and packet.size <= _NOT_CODED_BYTES
        self.packets += bool(packet.size) and not packet.is_discard and not placeholder
        if packet.is_corrupt and packet.size:
            yield self._bad_packet(packet, "the frame is cut off in the file")
            return
        damage = _jpeg_damage(packet) if codec == "mjpeg" else ""
        try:
            frames = [] if damage else packet.decode()
        except FFmpegError as error:
            damage = _reason(error)
        if damage and packet.size:
            yield self._bad_packet(packet, f"the frame does not decode ({damage})")
        if damage:
            return
        for frame in frames:
            if frame.pts is None or frame.pts not in self.reported:
                yield self._grab(frame)

    def _grab(self, frame: VideoFrame) -> Grab:
        self.field_coded = self.field_coded or frame.interlaced_frame
        if frame.is_corrupt:
            return self._bad("the decoder reports damage in the frame")
        if self.damaged and not frame.key_frame:
            return self._bad(f"the frame depends on a damaged one ({self.damaged})")
        self.damaged = ""
        name, index = self.request.name, self.delivered
        try:
            image = to_bgr8(_pixels(frame), f"{name}, frame {index}", self._bit_depth(frame))
        except DataError as error:
            return self._bad(str(error))
        self.decoded += 1
        self.delivered += 1
        return Frame(image, index, time.monotonic(), name)

    def _bit_depth(self, frame: VideoFrame) -> int | None:
        depth = self.request.depth()
        return depth.bits if depth and _is_deep(frame) else None

    def _bad_packet(self, packet: Packet[Any], reason: str) -> BadFrame:
        if packet.pts is not None:
            self.reported.add(packet.pts)
        return self._bad(reason)

    def _bad(self, reason: str) -> BadFrame:
        self.damaged = self.damaged or f"frame {self.delivered}"
        bad = BadFrame(reason, self.delivered, time.monotonic(), self.request.name)
        self.delivered += 1
        return bad

    def _missing(self) -> Iterator[Grab]:
        """Yield a BadFrame for each packet from which neither an image nor an error came."""
        if self.stream.codec_context.name in _SEVERAL_PACKETS or self.field_coded:
            return
        for _ in range(self.packets - self.delivered):
            yield self._bad("the decoder gave no image for the frame")

    def _check_end(self) -> None:
        name = self.request.name
        if not self.decoded:
            raise SourceLost(f"{name}: no frame of the video can be decoded.")
        missing = round(self._frames_missing())
        if missing:
            raise SourceLost(
                f"{name}: the video ends early: its header says "
                f"{self.stream.frames or self.delivered + missing} frames, {self.delivered} are "
                "there. Copy or record it again."
            )
        if lost := missing_bytes(Path(self.request.uri.place)):
            raise SourceLost(
                f"{name}: the video ends early: the file lacks {lost} bytes of those that its "
                f"header says, after {self.delivered} frames. Copy or record it again."
            )

    def _frames_missing(self) -> float:
        """Return how many frames the header says and the file lacks, by number and by time.

        The number of a cut .avi stays in its header, while FFmpeg adapts the duration. Of time, a
        frame less is rounding; entries of no bytes, which repeat a frame, count by number.
        """
        missing = float(max(0, self.stream.frames - self.entries))
        rate, base, expected = self.stream.average_rate, self.stream.time_base, self._duration()
        if expected is not None and rate and base:
            late = (expected - (self.end - (self.first or 0))) * float(rate * base)
            missing = max(missing, late if late > _EARLY_FRAMES else 0.0)
        return missing

    def _duration(self) -> float | None:
        """Return the video's length by its header in units of the stream, None when unknown."""
        if self.stream.duration is not None:
            return float(self.stream.duration)
        whole, base = self.container.duration, self.stream.time_base
        if whole is None or base is None or len(self.container.streams) > 1:
            return None
        return float(whole / 1_000_000 / base)


def _jpeg_damage(packet: Packet[Any]) -> str:
    """Return libjpeg's complaint, which is stricter than FFmpeg's.

    Many recorders leave out the standard Huffman tables; of those packets FFmpeg alone decides.
    """
    data = bytes(packet)
    return jpeg_damage(data) if _HUFFMAN_TABLES in data else ""


def _pixels(frame: VideoFrame) -> np.ndarray[Any, Any]:
    """Return BGR, or the values of a 16-bit grey video, turned as the container asks."""
    pixels = frame.to_ndarray(format="gray16le" if _is_deep(frame) else "bgr24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def _is_deep(frame: VideoFrame) -> bool:
    """Return whether values have 16 bits, of which nobody knows how many are used."""
    return frame.format.name in {"gray16le", "gray16be"}


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", "") or error)
