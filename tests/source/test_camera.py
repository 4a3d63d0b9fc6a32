"""Cameras that work, that are missing and that stop: each ends, or the test times out."""

from __future__ import annotations

import itertools
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.images import BitDepth, encode_image
from edge_ad.source import open_source
from edge_ad.source.base import SourceRequest
from edge_ad.source.camera import check_size, deep_grey, to_grab, with_appsink
from edge_ad.source.open import open_grabs, parse_uri
from tests.source.rtsp_server import RtspCamera, serving
from tests.timing import wait_until

pytestmark = pytest.mark.timeout(60)


@pytest.mark.skipif(Path("/dev/video97").exists(), reason="this machine has camera 97")
def test_a_camera_number_without_a_camera_lists_the_existing_ones() -> None:
    with pytest.raises(SourceLost, match=r"/dev/video97: no such camera\. Cameras here"):
        open_source("97")


def test_a_device_that_is_no_camera_does_not_open() -> None:
    with pytest.raises(SourceLost, match="does not open as a camera"):
        open_source("/dev/null")


def test_a_camera_that_delivers_another_size_is_refused() -> None:
    frames = iter([Frame(np.zeros((48, 64, 3), np.uint8), 0, 0.0, "cam")])
    with pytest.raises(UsageError, match="delivers 64x48, expected 1280xany"):
        list(check_size(frames, (1280, 0), "cam"))


def test_a_camera_of_the_expected_size_is_read() -> None:
    frames = (Frame(np.zeros((48, 64, 3), np.uint8), index, 0.0, "cam") for index in range(3))
    assert len(list(check_size(frames, (64, 48), "cam"))) == 3


def test_a_stream_without_end_can_be_left() -> None:
    with serving(RtspCamera(frames=1_000_000)) as camera:
        uri = f"rtsp://127.0.0.1:{camera.port}/live"
        with open_source(uri, timeout_s=5) as source:
            assert len(list(itertools.islice(source, 3))) == 3
        assert f"grab {uri}" not in {thread.name for thread in threading.enumerate()}


class Driver:
    """A driver that takes values up to 500, no gain and one format, for VideoCapture's place."""

    def __init__(self) -> None:
        self.values: dict[int, float] = {}
        self.released = False

    def isOpened(self) -> bool:
        return True

    def set(self, setting: int, value: float) -> bool:
        yuyv = cv2.VideoWriter.fourcc(*"YUYV")
        self.values[setting] = yuyv if setting == cv2.CAP_PROP_FOURCC else min(value, 500)
        return setting != cv2.CAP_PROP_GAIN

    def get(self, setting: int) -> float:
        return self.values.get(setting, 0)

    def read(self) -> tuple[bool, NDArray[np.uint8]]:
        return True, np.full((48, 64, 3), 90, np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("exposure=900", "exposure=900 was not taken, the driver has 500"),
        ("gain=3", "gain=3 was"),
        ("fps=1000", "fps=1000 was not taken, the driver has 500"),
        ("format=MJPG", "format=MJPG was not taken, the driver has YUYV"),
    ],
)
def test_what_a_camera_is_set_to_is_taken_or_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: str, message: str
) -> None:
    device, driver = tmp_path / "video0", Driver()
    device.touch()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: driver)
    with open_source(f"v4l2://{device}?exposure=200&format=YUYV&fps=30") as source:
        assert isinstance(next(iter(source)), Frame)
    assert driver.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
    assert driver.values[cv2.CAP_PROP_EXPOSURE] == 200
    driver.released = False
    with pytest.raises(UsageError, match=message):
        open_source(f"v4l2://{device}?{options}")
    assert driver.released


def test_a_camera_that_is_unplugged_while_it_opens_is_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = tmp_path / "video0"

    class Unplugged(Driver):
        def set(self, setting: int, value: float) -> bool:
            device.unlink(missing_ok=True)
            return False

    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: Unplugged())
    for options in ("exposure=200", "gain=3"):
        device.touch()
        with pytest.raises(SourceLost, match="unplugged while it opened"):
            open_source(f"v4l2://{device}?{options}")


@pytest.mark.parametrize("error", [None, cv2.error("VIDIOC_DQBUF: No such device")])
def test_a_camera_that_is_unplugged_is_lost_and_released(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: cv2.error | None
) -> None:
    device, driver = tmp_path / "video0", Driver()
    device.touch()
    unplugged = threading.Event()

    def read() -> tuple[bool, NDArray[np.uint8] | None]:
        if not unplugged.is_set():
            return True, np.full((48, 64, 3), 90, np.uint8)
        if error is not None:
            raise error
        return False, None

    monkeypatch.setattr(driver, "read", read)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: driver)
    with open_source(f"v4l2://{device}") as source:
        next(iter(source))
        unplugged.set()
        with pytest.raises(SourceLost, match=r"stopped delivering|DQBUF: No such device"):
            list(source)
        wait_until(lambda: driver.released)


class JpegDriver(Driver):
    """A camera in MJPG: its buffers, padded with zeros, once OpenCV is asked not to decode them."""

    def __init__(self, jpegs: list[bytes]) -> None:
        super().__init__()
        self.jpegs = jpegs

    def set(self, setting: int, value: float) -> bool:
        self.values[setting] = value
        return True

    def read(self) -> tuple[bool, NDArray[np.uint8]]:
        if not self.jpegs:
            return False, np.empty((0, 0), np.uint8)
        data = np.frombuffer(self.jpegs.pop(0), np.uint8)
        if self.values.get(cv2.CAP_PROP_CONVERT_RGB) == 0:
            return True, np.concatenate([data, np.zeros(500, np.uint8)])[None]
        return True, np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def test_damaged_jpegs_of_a_camera_are_bad_frames(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 96, 128, 3), dtype=np.uint8)
    jpegs = [encode_image(image, ".jpg") for image in images]
    expected = cv2.imdecode(np.frombuffer(jpegs[0], np.uint8), cv2.IMREAD_COLOR)
    jpegs[1] = jpegs[1][: len(jpegs[1]) // 2] + b"\xff\xd9"
    jpegs[2] = b"\xff\xd8" + bytes(3000)
    jpegs[3] = jpegs[3][1000:]  # its first packet is lost
    device = tmp_path / "video0"
    device.touch()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: JpegDriver(jpegs))
    grabs: list[Grab] = []
    with pytest.raises(SourceLost, match="stopped delivering after 5 frames"):
        for grab in open_grabs(f"v4l2://{device}?format=MJPG&width=128&height=96"):
            grabs.append(grab)
    assert [isinstance(grab, Frame) for grab in grabs] == [True, *[False] * 3, True]
    assert isinstance(grabs[0], Frame) and (grabs[0].image == expected).all()
    assert isinstance(grabs[1], BadFrame) and "premature end of data" in grabs[1].reason
    for grab in grabs[2:4]:
        assert isinstance(grab, BadFrame) and "does not decode" in grab.reason


def test_deep_grey_frames_are_shifted_by_the_depth_of_their_sensor() -> None:
    image = np.full((8, 8), 4000, np.uint16)
    frame = to_grab(image, 0, "cam", BitDepth(12))
    assert isinstance(frame, Frame) and (frame.image == 4000 >> 4).all()
    above = to_grab(image, 1, "cam", BitDepth(10))
    assert isinstance(above, BadFrame) and "a value of 4000 does not fit" in above.reason
    for depth in (None, BitDepth(8, "as the engine was trained", given=False)):
        with pytest.raises(UsageError, match=r"cam delivers 16-bit values.*--bit-depth"):
            to_grab(image, 0, "cam", depth)


class DeepDriver(Driver):
    """A camera in Y16, whose values come whole once OpenCV is asked not to convert them."""

    def set(self, setting: int, value: float) -> bool:
        self.values[setting] = value
        return True

    def read(self) -> tuple[bool, NDArray[Any]]:
        if self.values.get(cv2.CAP_PROP_CONVERT_RGB) == 0:
            return True, np.full((48, 64), 4000, np.uint16)
        return True, np.full((48, 64, 3), 4000 >> 8, np.uint8)


def test_a_camera_in_deep_grey_keeps_the_bits_of_its_sensor_and_is_released(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device, driver = tmp_path / "video0", DeepDriver()
    device.touch()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: driver)
    opened: Any = open_grabs(f"v4l2://{device}?format=Y16&bit_depth=12")
    with closing(opened) as grabs:
        frame = next(grabs)
        assert isinstance(frame, Frame) and (frame.image == 4000 >> 4).all()
        assert not driver.released
    assert driver.released


def request(uri: str, bits: int | None = None) -> SourceRequest:
    depth = BitDepth(bits, "as the engine was trained", given=False) if bits else None
    return SourceRequest(parse_uri(uri), uri, bit_depth=depth)


def test_pixel_formats_name_the_depth_and_y16_needs_one() -> None:
    depth = deep_grey("Y12", request("v4l2:///dev/video0?format=Y12", 8))
    assert depth is not None and depth.bits == 12
    assert deep_grey("Y16", request("v4l2:///dev/video0")) is None
    unasked = deep_grey("Y10", request("v4l2:///dev/video0"))
    assert unasked is not None and unasked.bits == 10
    assert deep_grey("Y16", request("v4l2:///dev/video0?bit_depth=14")) == BitDepth(14)
    with pytest.raises(UsageError, match=r"delivers Y10, which has 10 bits, expected 12 bits"):
        deep_grey("Y10", request("v4l2:///dev/video0", 12))


def test_a_pipeline_with_deep_grey_frames_keeps_all_their_bits() -> None:
    pipeline = with_appsink("aravissrc ! video/x-raw,format=GRAY16_LE")
    assert "videoconvert" not in pipeline and "format=GRAY16_LE ! appsink" in pipeline
