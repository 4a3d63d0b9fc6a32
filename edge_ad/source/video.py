"""Read every frame of a video file, and know of those that are missing or damaged.

OpenCV stops after a damaged passage and passes on what FFmpeg fills in, so FFmpeg is used through
PyAV.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_ad.errors import MissingExtra, SourceLost
from edge_ad.frame import Grab
from edge_ad.source.base import SourceRequest
from edge_ad.source.decoder import VideoDecoder, reason_of
from edge_ad.source.matroska import missing_bytes

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_EARLY_FRAMES = 1.5  # the last frame's length is often rounded
_NO_VIDEOS = ("tty", "image2")  # FFmpeg's readers of text and of images; images end in _pipe


def open_video(request: SourceRequest, path: Path) -> Iterator[Grab]:
    """Return the frames of a video; those that do not decode are BadFrames.

    Raises SourceLost when it cannot be opened, when no frame decoded, and after the last frame when
    the video ends before its header says.
    """
    container = _open(path)
    try:
        stream = container.streams.video[0]
        decoder = VideoDecoder(stream, request)
    except BaseException:
        container.close()
        raise
    return _Video(container, stream, request, decoder).grabs()


def _open(path: Path) -> InputContainer:
    try:
        import av
    except ImportError as error:
        raise MissingExtra(f"{path}: reading a video", "av", "video") from error
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise SourceLost(
            f"{path}: FFmpeg cannot open it as a video ({reason_of(error)}). It may be "
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
    decoder: VideoDecoder
    entries: int = 0  # of the file's index, empty ones too
    first: int | None = None  # time of the first packet
    end: int = 0  # time after the last one

    def grabs(self) -> Iterator[Grab]:
        """Yield all frames. A packet without an image gives a BadFrame where it was due."""
        try:
            for packet in self._demuxed():
                yield from self.decoder.decode(packet)
            yield from self.decoder.missing()
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
                    f"{self.request.name}: reading stops after {self.decoder.delivered} frames: "
                    f"{reason_of(error)}. Copy or record the video again."
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

    def _check_end(self) -> None:
        name = self.request.name
        if not self.decoder.decoded:
            raise SourceLost(f"{name}: no frame of the video can be decoded.")
        missing = round(self._frames_missing())
        delivered = self.decoder.delivered
        if missing:
            raise SourceLost(
                f"{name}: the video ends early: its header says "
                f"{self.stream.frames or delivered + missing} frames, {delivered} are "
                "there. Copy or record it again."
            )
        if lost := missing_bytes(Path(self.request.uri.place)):
            raise SourceLost(
                f"{name}: the video ends early: the file lacks {lost} bytes of those that its "
                f"header says, after {delivered} frames. Copy or record it again."
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
