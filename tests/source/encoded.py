"""Videos encoded with FFmpeg for tests, whole and damaged."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream

WIDTH, HEIGHT, KEY_EVERY = 128, 96, 12
Change = Callable[[int, bytes], bytes]


def encode_video(
    codec: str = "libx264",
    container: str = "matroska",
    frames: int = 36,
    options: Mapping[str, str] | None = None,
    change: Change | None = None,
) -> bytes:
    """Return a moving texture as a video; `change` may alter each packet, by its number."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        every = {"g": str(KEY_EVERY), **(options or {})}
        stream = output.add_stream(codec, rate=25, options=every)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        number = 0
        for frame in [*map(_frame, range(frames)), None]:
            for packet in stream.encode(frame):
                output.mux(_changed(packet, change, number))
                number += 1
    return buffer.getvalue()


def scrambled(damaged: int, length: int = 60) -> Change:
    """Return a change that overwrites bytes in the middle of packet `damaged`."""

    def change(number: int, data: bytes) -> bytes:
        if number != damaged:
            return data
        start, end = len(data) // 2, min(len(data) // 2 + length, len(data))
        noise = np.random.default_rng(damaged).integers(0, 256, end - start, dtype=np.uint8)
        return data[:start] + noise.tobytes() + data[end:]

    return change


def _frame(index: int) -> av.VideoFrame:
    texture = np.random.default_rng(7).integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    ramp = np.arange(WIDTH, dtype=np.uint8)[None, :, None]
    return av.VideoFrame.from_ndarray(np.roll(texture + ramp, 2 * index, axis=1), format="bgr24")


def _changed(packet: Packet[Any], change: Change | None, number: int) -> Packet[Any]:
    if change is None:
        return packet
    changed: Packet[Any] = Packet(change(number, bytes(packet)))
    changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
    changed.is_keyframe, changed.stream = packet.is_keyframe, packet.stream
    return changed
