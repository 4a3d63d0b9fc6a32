"""Read a network camera: RTSP, or video over HTTP, through FFmpeg.

FFmpeg is used through PyAV, which reports damaged frames; OpenCV passes on what the decoder fills
in, and its decoding threads hold each frame back until several more have come.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edge_ad.address import url_with_host
from edge_ad.errors import MissingExtra, SourceLost, UsageError
from edge_ad.frame import Grab
from edge_ad.source.base import SourceRequest
from edge_ad.source.decoder import VideoDecoder, reason_of
from edge_ad.uri import Uri, without_credentials

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet

TRANSPORT = "EDGE_AD_RTSP_TRANSPORT"
_TRANSPORTS = ("tcp", "udp", "udp_multicast", "http", "https")
_TRIED_FRAMES, _TRIED_KEYS = 10, 2  # of which none decodes strictly, though damage is rare
_SHORT_LOOK = {  # FFmpeg would watch 40 frames to guess the rate, which is not used here
    "analyzeduration": "500000",  # microseconds
    "fpsprobesize": "0",
}
_TOLERANT = frozenset({"h264", "hevc"})
_log = logging.getLogger(__name__)


def check_network(uri: Uri) -> None:
    """Raise UsageError for an address without a host, MissingExtra without PyAV."""
    if url_with_host(uri.place) is None:
        raise UsageError(
            f"{without_credentials(uri.place)}: expected {uri.scheme}://HOST[:PORT]/PATH, with "
            "special characters of a password written as %XX."
        )
    _transport(uri)
    if not find_spec("av"):
        raise MissingExtra(f"{uri.scheme}://", "av", "video")


def open_network(request: SourceRequest) -> Iterator[Grab]:
    """Open an RTSP camera, over TCP, or an HTTP stream, with time limits inside FFmpeg too.

    Frames start with the first key frame. A camera of which not even key frames decode by their
    standard is opened again with a decoder that tolerates breaches of it, and a warning.

    Raises SourceLost when the camera does not open, and when it stops delivering.
    """
    return _frames(request, _open(request))


def _frames(request: SourceRequest, container: InputContainer) -> Iterator[Grab]:
    stream = _Stream(request, container)
    try:
        yield from stream.grabs()
        stream.tolerate()
        yield from stream.grabs()
    finally:
        stream.container.close()


class _Stream:
    """One camera's stream and its decoder, strict until it proves to be too strict."""

    def __init__(self, request: SourceRequest, container: InputContainer) -> None:
        self.container = container
        self._request = request
        self._decoder = VideoDecoder(container.streams.video[0], request)
        self._tolerates = False

    def grabs(self) -> Iterator[Grab]:
        """Yield frames and BadFrames until strict decoding proves useless."""
        keys = 0
        for packet in itertools.dropwhile(lambda packet: not packet.is_keyframe, self._packets()):
            keys += packet.is_keyframe
            if keys > _TRIED_KEYS and self._is_too_strict():
                return
            yield from self._decoder.decode(packet)

    def tolerate(self) -> None:
        """Open the camera again with a decoder that tolerates breaches of the standard."""
        _log.warning(
            "%s: the camera's %s breaks its standard: no frame decodes by it. Frames are decoded "
            "with tolerance from here on, so that a damaged one may pass for whole",
            self._request.name,
            self.container.streams.video[0].codec_context.name,
        )
        self.container.close()
        self.container = _open(self._request)
        tried = self._decoder.delivered
        self._decoder = VideoDecoder(self.container.streams.video[0], self._request, strict=False)
        self._decoder.delivered = tried  # numbers go on
        self._tolerates = True

    def _is_too_strict(self) -> bool:
        codec = self.container.streams.video[0].codec_context.name
        useless = not self._decoder.decoded and self._decoder.delivered >= _TRIED_FRAMES
        return useless and codec in _TOLERANT and not self._tolerates

    def _packets(self) -> Iterator[Packet[Any]]:
        import av

        reason, silent = "the stream ended", f"nothing came for {self._request.timeout_s:g} s"
        asked_s = time.monotonic()
        try:
            for packet in self.container.demux(video=0):
                if time.monotonic() - asked_s >= self._request.timeout_s:
                    reason = silent  # FFmpeg gives out an old frame that it held, and waits again
                    break
                if packet.size or packet.dts is None:  # the last one, empty, frees frames held back
                    yield packet
                asked_s = time.monotonic()
        except av.error.ExitError:
            reason = silent
        except av.FFmpegError as error:
            reason = reason_of(error)
        raise SourceLost(
            f"{self._request.name}: the camera stopped delivering after {self._decoder.delivered} "
            f"frames ({reason}). Check its cable, power and network."
        )


def _open(request: SourceRequest) -> InputContainer:
    import av

    name = request.name
    limits_s = (request.open_within_s, request.timeout_s)
    try:
        options = _SHORT_LOOK | _transport(request.uri)
        container = av.open(request.uri.place, options=options, timeout=limits_s)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise SourceLost(
            f"{name} does not open ({reason_of(error)}). Check the address, user and password with "
            "a player (ffplay -rtsp_transport tcp), and that the camera accepts another client."
        ) from None  # FFmpeg's error holds the address with its password
    if not container.streams.video:
        container.close()
        raise SourceLost(f"{name} sends no video. Check the path in its address.")
    return container


def _transport(uri: Uri) -> dict[str, str]:
    """Select TCP unless the user chose a transport: torn frames over UDP look like defects."""
    if not uri.scheme.startswith("rtsp"):
        return {}
    transport = os.environ.get(TRANSPORT, "tcp")
    if transport not in _TRANSPORTS:
        raise UsageError(f"{TRANSPORT} must be one of {', '.join(_TRANSPORTS)}; got '{transport}'.")
    return {"rtsp_transport": transport}
