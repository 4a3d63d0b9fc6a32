"""GenICam cameras through Aravis: its fake GigE Vision camera on the loopback interface."""

from __future__ import annotations

import ctypes
import itertools
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import IncompatibleError, SourceLost, UsageError
from edge_ad.frame import BadFrame, Frame, pixels_of
from edge_ad.source import aravis, open_source
from edge_ad.source.aravis import Device, RawImage
from edge_ad.source.base import SourceRequest
from edge_ad.source.genicam import to_image
from edge_ad.source.open import parse_uri
from tests.beside import Beside
from tests.conftest import ROOT
from tests.timing import LIMIT_S

try:
    ctypes.CDLL("libaravis-0.8.so.0")
    MISSING = ""
except OSError as error:
    MISSING = f"Aravis is not installed (apt install libaravis-0.8-0): {error}"
needs_aravis = pytest.mark.skipif(bool(MISSING), reason=MISSING)
pytestmark = pytest.mark.timeout(60)
REQUEST = SourceRequest(parse_uri("genicam://CAM"), "genicam://CAM")


@contextmanager
def fake_camera(serial: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.source.fake_genicam", serial]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "running\n":
                pytest.skip("the fake camera's port on the loopback interface is taken")
            yield process
        finally:
            process.kill()


@needs_aravis
@pytest.mark.slow
def test_a_camera_is_read_lost_when_it_is_killed_and_read_again() -> None:
    uri = "genicam://EDGEAD1?exposure=20000&gain=1&fps=20&format=Mono8"
    with fake_camera("EDGEAD1") as camera, open_source(uri, timeout_s=20) as source:
        grabs = iter(source)
        frames = [grab for grab in itertools.islice(grabs, 5) if isinstance(grab, Frame)]
        assert frames and frames[0].image.shape[2] == 3 and source.live
        assert pixels_of(frames[0].image).ndim == 2, "grey comes as one plane"
        assert frames[0].image.std() > 0
        camera.kill()
        with pytest.raises(SourceLost, match=r"no longer answers"):
            for _ in grabs:
                pass
    with fake_camera("EDGEAD1"), open_source("genicam://EDGEAD1", timeout_s=20) as source:
        assert any(isinstance(grab, Frame) for grab in itertools.islice(source, 5))


@needs_aravis
@pytest.mark.slow
def test_a_triggered_camera_waits_for_its_signal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cameras: list[aravis.AravisCamera] = []
    start = aravis.AravisCamera.start

    def started(camera: aravis.AravisCamera) -> None:
        start(camera)
        cameras.append(camera)

    monkeypatch.setattr(aravis.AravisCamera, "start", started)
    uri = "genicam://EDGEAD3?trigger=Software"
    with fake_camera("EDGEAD3"):
        with open_source(uri, timeout_s=0.01) as source:
            library, *_ = aravis._libraries()
            fire = library.arv_camera_software_trigger
            fire.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
            taken = threading.Event()

            def signal() -> None:
                while not taken.wait(0.5):
                    fire(cameras[0]._camera, None)

            signals = threading.Thread(target=signal)
            signals.start()
            try:  # a busy machine may lose packets of a frame, which is then a BadFrame
                frame = next(grab for grab in source if isinstance(grab, Frame))
            finally:
                taken.set()
                signals.join()
            assert frame.image.ndim == 3
        assert not caplog.messages
        open_source("genicam://EDGEAD3").close()  # it still waits, and who opens it may not know
        assert "Write trigger=Software" in caplog.text


@needs_aravis
@pytest.mark.slow
def test_a_camera_in_use_is_not_taken_for_one_that_refuses_a_setting() -> None:
    uri = "genicam://EDGEAD4?exposure=20000"
    with fake_camera("EDGEAD4"):
        with open_source(uri, timeout_s=20) as first:
            grabs = iter(first)
            next(grabs)
            with pytest.raises(SourceLost, match=r"gives no control\. Another program"):
                open_source(uri)
            for _ in range(20):
                next(grabs)
        with open_source(uri, timeout_s=20) as source:
            next(iter(source))


@needs_aravis
@pytest.mark.slow
def test_a_camera_that_is_lost_while_it_is_set_is_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_exposure = aravis.AravisCamera.set_exposure

    with fake_camera("EDGEAD5") as server:

        def set_late(camera: aravis.AravisCamera, microseconds: float) -> None:
            server.kill()
            set_exposure(camera, microseconds)

        monkeypatch.setattr(aravis.AravisCamera, "set_exposure", set_late)
        with pytest.raises(SourceLost, match=r"does not start: .* timeout"):
            open_source("genicam://EDGEAD5?exposure=20000")


@needs_aravis
@pytest.mark.slow
def test_a_setting_that_a_camera_does_not_take_is_refused_with_its_limits() -> None:
    with fake_camera("EDGEAD6"):
        for option in ("format=Nothing", "trigger=Line9"):
            with pytest.raises(UsageError, match=f"{option} is refused"):
                open_source(f"genicam://EDGEAD6?{option}")
        for option, limits in (
            ("exposure=99000000", "10 to 1e+07"),
            ("exposure=0", "10 to 1e+07"),
            ("gain=11", "0 to 10"),
            ("fps=2000", "0.1 to 1000"),
        ):
            expected = re.escape(f"{option} is refused: the camera takes {limits}")
            with pytest.raises(UsageError, match=expected):
                open_source(f"genicam://EDGEAD6?{option}")
        with open_source("genicam://EDGEAD6?fps=1005", timeout_s=20) as source:
            next(iter(source))  # as near as rounding


@needs_aravis
@pytest.mark.slow
def test_a_camera_is_read_again_that_a_killed_program_left_delivering() -> None:
    program = (
        "from edge_ad import open_source\n"
        "with open_source('genicam://EDGEAD7', timeout_s=20) as source:\n"
        "    for grab in source: print('grab', flush=True)\n"
    )
    command = [sys.executable, "-c", program]
    with fake_camera("EDGEAD7"):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as killed:
            assert killed.stdout and killed.stdout.readline() == b"grab\n"
            killed.kill()
        until_s = time.monotonic() + LIMIT_S
        while True:
            try:
                source = open_source("genicam://EDGEAD7", timeout_s=5)
                break
            except SourceLost:  # it waits 3 s for its program
                assert time.monotonic() < until_s
        with source:
            next(iter(source))


@needs_aravis
@pytest.mark.slow
def test_a_camera_in_a_process_that_waits_for_a_trigger_is_released(
    caplog: pytest.LogCaptureFixture,
) -> None:
    uri = "genicam://EDGEAD8?trigger=Software"
    with fake_camera("EDGEAD8"):
        for _ in range(2):  # the second finds it free
            open_source(uri, open_within_s=LIMIT_S, isolated=True).close()
    assert "is killed" not in caplog.text


@needs_aravis
def test_an_absent_camera_is_reported_with_those_that_are_there() -> None:
    with pytest.raises(SourceLost, match=r"no such GenICam camera\. Cameras here: "):
        open_source("genicam://NOBODY-HAS-THIS")


def test_a_fixed_setting_switches_its_automatic_off(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    gone = False

    def call(name: str, *arguments: object) -> None:
        calls.append(name.removeprefix("arv_camera_"))
        if name.endswith("_bounds"):  # a camera that does not tell its limits, or is lost
            raise aravis.AravisError("no limits", gone=gone)

    monkeypatch.setattr(aravis, "_call", call)
    camera = aravis.AravisCamera.__new__(aravis.AravisCamera)
    camera._camera = 1
    camera.set_exposure(2000.0)
    camera.set_gain(1.0)
    assert calls == [
        *("set_exposure_time_auto", "get_exposure_time_bounds", "set_exposure_time"),
        *("set_gain_auto", "get_gain_bounds", "set_gain"),
    ]
    gone = True
    with pytest.raises(aravis.AravisError, match="no limits"):
        camera.set_gain(1.0)


def test_without_the_library_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(aravis, "_libraries", aravis._libraries.__wrapped__)
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(IncompatibleError, match="sudo apt install libaravis"):
        open_source("genicam://CAM")


def raw(pixel_format: int, *values: int, kind: type = np.uint8, width: int = 4) -> RawImage:
    data: NDArray[Any] = np.array(values, kind)
    channels = {0x02180014: 3, 0x02180015: 3}.get(pixel_format, 1)
    return RawImage(data.view(np.uint8), width, len(data) // width // channels, pixel_format)


def test_pixel_formats_become_bgr() -> None:
    rgb = to_image(raw(0x02180014, *(1, 2, 3) * 16), 0, REQUEST)
    assert isinstance(rgb, Frame) and rgb.image[0, 0].tolist() == [3, 2, 1]
    bgr = to_image(raw(0x02180015, *(1, 2, 3) * 16), 0, REQUEST)
    assert isinstance(bgr, Frame) and bgr.image[0, 0].tolist() == [1, 2, 3]
    longer = to_image(RawImage(np.arange(20, dtype=np.uint8), 4, 4, 0x01080001), 0, REQUEST)
    assert isinstance(longer, Frame) and longer.image[3, 3, 0] == 15, "other data may follow"
    deep = to_image(raw(0x01100005, *[4000] * 16, kind=np.uint16), 0, REQUEST)
    assert isinstance(deep, Frame) and (deep.image == 4000 >> 4).all()
    with pytest.raises(UsageError, match="pixel format 0x010c0006"):
        to_image(RawImage(np.zeros(24, np.uint8), 4, 4, 0x010C0006), 0, REQUEST)


@pytest.mark.parametrize(
    ("pixel_format", "cell"),
    [(0x01080008, "GRBG"), (0x01080009, "RGGB"), (0x0108000A, "GBRG"), (0x0108000B, "BGGR")],
)
def test_a_mosaic_becomes_the_colour_behind_it(pixel_format: int, cell: str) -> None:
    levels = np.array([{"B": 40, "G": 90, "R": 200}[letter] for letter in cell], np.uint8)
    mosaic = np.tile(levels.reshape(2, 2), (4, 4))
    grab = to_image(RawImage(mosaic.ravel(), 8, 8, pixel_format), 0, REQUEST)
    assert isinstance(grab, Frame) and (grab.image == [40, 90, 200]).all()


@pytest.mark.parametrize(
    ("pixel_format", "pair"), [(0x0210001F, (90, 81, 240, 81)), (0x02100032, (81, 90, 81, 240))]
)
def test_brightness_and_colour_of_two_pixels_become_red(
    pixel_format: int, pair: tuple[int, ...]
) -> None:
    grab = to_image(RawImage(np.array(pair * 8, np.uint8), 4, 4, pixel_format), 0, REQUEST)
    assert isinstance(grab, Frame) and np.abs(grab.image - [0, 0, 255.0]).max() < 3


@pytest.mark.parametrize(("pixel_format", "bits"), [(0x01100003, 10), (0x01100025, 14)])
def test_deep_grey_has_the_depth_of_its_format(pixel_format: int, bits: int) -> None:
    value = 200 << bits - 8
    grab = to_image(raw(pixel_format, *[value] * 16, kind=np.uint16), 0, REQUEST)
    assert isinstance(grab, Frame) and (grab.image == 200).all()


def test_an_incomplete_transfer_is_a_bad_frame() -> None:
    lost = RawImage(np.empty(0, np.uint8), 0, 0, 0, "packets are missing")
    short = RawImage(np.zeros(7, np.uint8), 4, 4, 0x01080001)
    for image, reason in ((lost, "packets are missing"), (short, "7 bytes, expected 16")):
        grab = to_image(image, 3, REQUEST)
        assert isinstance(grab, BadFrame) and reason in grab.reason and grab.index == 3


def test_cameras_are_listed_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        """A library with a camera in a list that begins empty each time."""

        devices = 0

        def arv_update_device_list(self) -> None:
            self.devices = 0
            second()
            self.devices += 1

        def arv_get_n_devices(self) -> int:
            return self.devices

        def __getattr__(self, name: str) -> Callable[[int], bytes]:
            return lambda index: b"camera"

    library = Library()
    second: Beside[list[Device]] = Beside(aravis.list_devices)
    monkeypatch.setattr(aravis, "_libraries", lambda: (library, None, None))
    assert aravis.list_devices() == second.result() == [Device("camera", "camera", "camera")]
