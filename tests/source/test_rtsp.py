"""A real RTSP server, GStreamer's, with H.264: killed, stopped, started again, and damaged."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from edge_ad.errors import SourceLost, SourceTimeout
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.source import open_source
from tests.source.encoded import KEY_EVERY, encode_video, scrambled

PYTHON = "/usr/bin/python3"  # GStreamer's bindings belong to the system
NEEDED = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst;"
    "Gst.init(None); assert all(map(Gst.ElementFactory.find, ('openh264enc', 'rtph264pay')))"
)
LIVE = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=128,height=96,framerate=25/1 ! "
    "openh264enc gop-size=12 ! h264parse ! rtph264pay name=pay0 config-interval=1 )"
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


@pytest.fixture(scope="module", autouse=True)
def _gstreamer() -> None:
    try:
        done = subprocess.run([PYTHON, "-c", NEEDED], capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"{PYTHON} does not run ({error})")
    if done.returncode:
        pytest.skip(
            "GStreamer's RTSP server is missing. Install it with: sudo apt install python3-gi "
            "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
        )


@contextmanager
def camera(pipeline: str, port: int, *login: str) -> Iterator[subprocess.Popen[str]]:
    """Run a camera at `port` until the block ends."""
    script = Path(__file__).with_name("gst_camera.py")
    command = [PYTHON, "-I", str(script), str(port), pipeline, *login]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def read(uri: str, frames: int, timeout_s: float = 10) -> list[Grab]:
    with open_source(uri, timeout_s=timeout_s) as source:
        return list(islice(source, frames))


def test_a_camera_that_is_killed_is_lost_and_read_again_once_it_is_back() -> None:
    port = free_port()
    uri = f"rtsp://127.0.0.1:{port}/live"
    with camera(LIVE, port) as process, open_source(uri, timeout_s=10) as source:
        grabs = iter(source)
        assert all(isinstance(next(grabs), Frame) for _ in range(20))
        process.kill()
        with pytest.raises(SourceLost, match="stopped delivering"):
            list(grabs)
    with pytest.raises(SourceLost, match="does not open"):
        open_source(uri)
    with camera(LIVE, port):
        assert all(isinstance(grab, Frame) for grab in read(uri, 20))


@pytest.mark.parametrize("method", ["basic", "digest"])
def test_a_camera_with_a_password_is_read_by_who_knows_it(method: str) -> None:
    port = free_port()
    with camera(LIVE, port, method, "p@ss:w/rd"):
        uri = f"rtsp://inspector:p%40ss%3Aw%2Frd@127.0.0.1:{port}/live"
        assert all(isinstance(grab, Frame) for grab in read(uri, 20))
        for login in ("", "inspector:wrong@"):
            with pytest.raises(SourceLost, match="401 Unauthorized") as refusal:
                open_source(f"rtsp://{login}127.0.0.1:{port}/live")
            assert "wrong" not in str(refusal.value)


def test_a_camera_that_is_stopped_is_lost_in_time_and_goes_on_when_opened_again() -> None:
    port = free_port()
    uri = f"rtsp://127.0.0.1:{port}/live"
    with camera(LIVE, port) as process:
        with open_source(uri, timeout_s=1.5) as source:
            grabs = iter(source)
            assert isinstance(next(grabs), Frame)
            process.send_signal(signal.SIGSTOP)
            with pytest.raises((SourceTimeout, SourceLost)):
                list(grabs)
        process.send_signal(signal.SIGCONT)
        assert all(isinstance(grab, Frame) for grab in read(uri, 20))


def test_frames_that_are_damaged_in_the_camera_are_bad(tmp_path: Path) -> None:
    damaged = 2 * KEY_EVERY
    (tmp_path / "a.mkv").write_bytes(
        encode_video(frames=60, options={"bf": "0"}, change=scrambled(damaged))
    )
    pipeline = (
        f"( filesrc location={tmp_path / 'a.mkv'} ! matroskademux ! h264parse ! "
        "rtph264pay name=pay0 config-interval=1 )"
    )
    port = free_port()
    with camera(pipeline, port), open_source(f"rtsp://127.0.0.1:{port}/live") as source:
        grabs: list[Grab] = []
        with pytest.raises(SourceLost):
            for grab in source:
                grabs.append(grab)
    bad = [grab for grab in grabs if isinstance(grab, BadFrame)]
    assert len(bad) + source.dropped >= KEY_EVERY and len(bad) > 1
    assert isinstance(grabs[-1], Frame)  # after the next key frame
