"""A camera for tests: RTSP over TCP with one JPEG stream (RFC 2326, 2435)."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from edge_ad.frame import Image
from tests.timing import LIMIT_S

_PAYLOAD = 1300  # bytes of an image per packet
_CLOCK_HZ, _FPS = 90_000, 25


@dataclass
class RtspCamera:
    """Serves `frames` grey images whose level grows by 4, then does `then`.

    `then` is "close", or "silence" until the test ends. `transports` lists what clients asked for.
    """

    frames: int = 20
    then: str = "close"
    transports: list[str] = field(default_factory=list)
    port: int = 0

    def serve(self, listener: socket.socket, stop: threading.Event) -> None:
        """Serve one client after another until `stop` is set."""
        while not stop.is_set():
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                with client:
                    self._serve_client(client, stop)

    def _serve_client(self, client: socket.socket, stop: threading.Event) -> None:
        client.settimeout(0.2)
        data = b""
        while not stop.is_set():
            try:
                data += client.recv(4096)
            except TimeoutError:
                continue
            while b"\r\n\r\n" in data:
                request, _, data = data.partition(b"\r\n\r\n")
                if self._answer(client, request.decode(), stop):
                    return

    def _answer(self, client: socket.socket, request: str, stop: threading.Event) -> bool:
        """Reply to one request and return whether the session is over."""
        lines = request.splitlines()
        verb = lines[0].split()[0]
        heads = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        self.transports += [heads["Transport"]] if "Transport" in heads else []
        served = "TCP" in heads.get("Transport", "TCP")
        status = "200 OK" if served else "461 Unsupported Transport"
        body, extra = self._reply(verb, lines[0].split()[1])
        client.sendall(
            f"RTSP/1.0 {status}\r\nCSeq: {heads['CSeq']}\r\nSession: 1\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        if verb == "PLAY":
            for index in range(self.frames):
                level = min(40 + 4 * index, 255)
                send_image(client, np.full((48, 64, 3), level, np.uint8), index)
                if stop.wait(1 / _FPS):
                    break
            if self.then == "silence":
                stop.wait()
            _hang_up(client, stop)
            return True
        return verb == "TEARDOWN"

    def _reply(self, verb: str, url: str) -> tuple[str, str]:
        if verb == "DESCRIBE":
            sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
            sdp += "m=video 0 RTP/AVP 26\r\na=control:track0\r\n"
            return sdp, f"Content-Type: application/sdp\r\nContent-Base: {url}/\r\n"
        if verb == "SETUP":
            return "", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        return "", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"


def _hang_up(client: socket.socket, stop: threading.Event) -> None:
    """End the stream; closing at once would take back what the client has not read yet."""
    client.shutdown(socket.SHUT_WR)
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            if not client.recv(4096):
                return


def send_image(client: socket.socket, image: Image, index: int) -> None:
    """Send one image as RTP packets on interleaved channel 0."""
    tables, scan = jpeg_parts(image)
    for start in range(0, len(scan), _PAYLOAD):
        part = scan[start : start + _PAYLOAD]
        last = start + _PAYLOAD >= len(scan)
        head = struct.pack(">I", start)  # type-specific 0, 24-bit offset
        head += bytes([1, 255, image.shape[1] // 8, image.shape[0] // 8])  # 4:2:0, tables follow
        if start == 0:
            head += struct.pack(">BBH", 0, 0, len(tables)) + tables
        marker = 0x80 if last else 0
        stamp = index * _CLOCK_HZ // _FPS
        rtp = struct.pack(">BBHII", 0x80, marker | 26, (index * 64 + start // _PAYLOAD), stamp, 7)
        packet = rtp + head + part
        client.sendall(b"$\x00" + struct.pack(">H", len(packet)) + packet)


def jpeg_parts(image: Image) -> tuple[bytes, bytes]:
    """Return the quantization tables and the entropy-coded scan of an image."""
    done, encoded = cv2.imencode(".jpg", image)
    assert done
    data, place, tables = encoded.tobytes(), 2, b""
    while True:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        segment = data[place + 4 : place + 2 + length]
        place += 2 + length
        if marker == 0xDB:
            tables += b"".join(segment[at + 1 : at + 65] for at in range(0, len(segment), 65))
        if marker == 0xDA:
            return tables, data[place:-2]


@contextlib.contextmanager
def serving(camera: RtspCamera) -> Iterator[RtspCamera]:
    """Serve the camera at 127.0.0.1:`camera.port` while the block runs."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        camera.port = listener.getsockname()[1]
        thread = threading.Thread(target=camera.serve, args=(listener, stop), daemon=True)
        thread.start()
        try:
            yield camera
        finally:
            stop.set()
            thread.join(LIMIT_S)
