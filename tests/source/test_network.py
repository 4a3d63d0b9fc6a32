"""Network cameras that work, that fall silent and that send damage: each ends, or times out."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.images import encode_image
from edge_ad.source import network, open_source
from edge_ad.source.base import SourceRequest
from edge_ad.source.network import open_network
from edge_ad.source.open import open_grabs
from edge_ad.uri import Uri
from tests.source.encoded import KEY_EVERY, encode_video, scrambled
from tests.source.rtsp_server import RtspCamera, serving
from tests.timing import LIMIT_S


def levels_of(grabs: Iterator[Grab]) -> list[float]:
    return [float(grab.image.mean()) for grab in grabs if isinstance(grab, Frame)]


def test_an_rtsp_camera_is_read_over_tcp_until_it_hangs_up() -> None:
    with (
        serving(RtspCamera(frames=20)) as camera,
        open_source(f"rtsp://me:secret@127.0.0.1:{camera.port}/live", timeout_s=LIMIT_S) as source,
    ):
        assert source.live and source.name == f"rtsp://127.0.0.1:{camera.port}/live"
        grabs: list[Grab] = []
        with pytest.raises(SourceLost, match="stopped delivering") as caught:
            for grab in source:
                grabs.append(grab)
    levels = levels_of(iter(grabs))
    sent_since_first = 1 + round((levels[-1] - levels[0]) / 4)  # FFmpeg probes with some before
    assert sent_since_first <= len(levels) + source.dropped <= 20
    assert levels == sorted(levels) and levels[-1] == pytest.approx(40 + 4 * 19, abs=3)
    assert camera.transports and all("TCP" in transport for transport in camera.transports)
    assert "secret" not in str(caught.value)


def test_an_rtsp_camera_that_falls_silent_is_lost_in_time() -> None:
    with (
        serving(RtspCamera(frames=40, then="silence")) as camera,
        open_source(f"rtsp://127.0.0.1:{camera.port}/live", timeout_s=1.5) as source,
    ):
        with pytest.raises(SourceLost):
            list(source)


def test_a_host_that_accepts_and_stays_silent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"rtsp://me:secret@127.0.0.1:{silent.getsockname()[1]}/live"
        with pytest.raises(SourceLost) as caught:
            open_source(uri, open_within_s=1)
    assert "secret" not in str(caught.value)


def test_a_host_that_refuses_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(SourceLost, match="does not open"):
        open_source(f"rtsp://127.0.0.1:{port}/live", open_within_s=5)


def test_a_transport_must_be_one_that_ffmpeg_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AD_RTSP_TRANSPORT", "carrier-pigeon")
    with pytest.raises(UsageError, match=r"must be one of tcp, udp.*; got 'carrier-pigeon'"):
        open_source("rtsp://127.0.0.1:9/live")


def test_a_transport_that_the_user_chose_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AD_RTSP_TRANSPORT", "udp")
    with serving(RtspCamera(frames=3)) as camera:
        with pytest.raises(SourceLost):  # it serves TCP only
            open_source(f"rtsp://127.0.0.1:{camera.port}/live", open_within_s=LIMIT_S)
        assert camera.transports and all(
            "UDP" in asked or "unicast" in asked for asked in camera.transports
        )


class _Mjpeg(BaseHTTPRequestHandler):
    """Images one after another in one answer, as network cameras send them."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        for index in range(15):
            data = encode_image(np.full((48, 64, 3), 40 + 4 * index, np.uint8), ".jpg")
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing, as tests are quiet."""


def test_an_http_camera_is_read() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Mjpeg)
    thread = threading.Thread(target=partial(server.serve_forever, 0.05), daemon=True)
    thread.start()
    try:
        uri = f"http://127.0.0.1:{server.server_port}/video.mjpg"
        with open_source(uri, timeout_s=LIMIT_S) as source:
            first = next(iter(source))
        assert isinstance(first, Frame) and first.image.shape == (48, 64, 3)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(LIMIT_S)


@contextmanager
def sending(content: bytes, kind: str) -> Iterator[str]:
    """Serve `content` at any path and yield an address."""

    class Sender(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing, as tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Sender)
    thread = threading.Thread(target=partial(server.serve_forever, 0.05), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/camera"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(LIMIT_S)


def grabs_until_the_end(uri: str) -> list[Grab]:
    """Return what a network camera delivers, none of it dropped, until it hangs up."""
    grabs: list[Grab] = []
    with pytest.raises(SourceLost, match=r"stopped delivering after \d+ frames"):
        for grab in open_grabs(uri):
            grabs.append(grab)
    return grabs


def test_a_damaged_jpeg_of_an_http_camera_is_a_bad_frame() -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 96, 128, 3), dtype=np.uint8)
    jpegs = [encode_image(image, ".jpg") for image in images]
    jpegs[2] = jpegs[2][: len(jpegs[2]) // 2] + b"\xff\xd9"  # half of the data, with an end
    parts = (b"--next\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg + b"\r\n" for jpeg in jpegs)
    with sending(b"".join(parts), "multipart/x-mixed-replace; boundary=next") as uri:
        grabs = grabs_until_the_end(uri)
    whole = [isinstance(grab, Frame) for grab in grabs]
    assert whole[:4] == [True, True, False, True]  # no boundary shows the end of the last one
    assert isinstance(grabs[2], BadFrame) and "does not decode" in grabs[2].reason


def test_frames_of_a_damaged_stream_are_bad_up_to_the_next_key_frame() -> None:
    video = encode_video("mpeg4", "mpegts", change=scrambled(KEY_EVERY + 1))
    with sending(video, "video/mp2t") as uri:
        grabs = grabs_until_the_end(uri)
    bad = [grab.index for grab in grabs if isinstance(grab, BadFrame)]
    assert bad == list(range(KEY_EVERY + 1, 2 * KEY_EVERY))


def test_a_camera_that_breaks_its_codec_is_read_with_tolerance(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = b"\0\0\0\1\x06\xe5\xc8camera\x80"  # an H.264 message that claims 200 bytes
    video = encode_video("libx264", "mpegts", 60, change=lambda number, data: broken + data)
    with sending(video, "video/mp2t") as uri, caplog.at_level(logging.WARNING):
        grabs = grabs_until_the_end(uri)
    assert "camera's h264 breaks its standard" in caplog.text
    frames = [grab for grab in grabs if isinstance(grab, Frame)]
    assert len(frames) == 60
    assert [grab.index for grab in grabs] == list(range(len(grabs)))  # the tried ones too


def test_a_stream_starts_with_its_first_key_frame() -> None:
    def change(number: int, data: bytes) -> bytes:
        return b"" if number < 5 else data

    with sending(encode_video("mpeg4", "mpegts", change=change), "video/mp2t") as uri:
        grabs = grabs_until_the_end(uri)
    assert len(grabs) == 36 - KEY_EVERY and all(isinstance(grab, Frame) for grab in grabs)


def test_a_stream_without_video_is_refused() -> None:
    with sending(b"hello " * 1000, "text/plain") as uri:
        with pytest.raises(SourceLost, match=r"does not open|sends no video"):
            open_grabs(uri)


def test_a_frame_that_was_held_back_over_a_silence_is_a_loss(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """FFmpeg ends its wait for a packet by giving out what it has, as if that had just come."""
    path = tmp_path / "camera.mkv"
    path.write_bytes(encode_video("mpeg4", frames=12))
    reads = itertools.count(1)
    clock = SimpleNamespace(monotonic=lambda: 3.0 * (next(reads) > 11))  # two a packet, one before
    monkeypatch.setattr(network, "time", clock)
    grabs = open_network(SourceRequest(Uri("http", str(path)), "camera", timeout_s=3.0))
    assert [next(grabs).index for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(SourceLost, match=r"after 5 frames \(nothing came for 3 s\)"):
        next(grabs)
