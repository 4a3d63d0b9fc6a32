"""Open GenICam cameras of any maker with Aravis (`genicam://SERIAL`)."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.address import is_ip
from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import BadFrame, Grab
from edge_ad.source.aravis import (
    AravisCamera,
    AravisError,
    Device,
    RawImage,
    list_devices,
    require_aravis,
)
from edge_ad.source.base import SourceRequest, warn_of_trigger
from edge_ad.source.camera import check_settings, depth_of_format, to_grab
from edge_ad.uri import Uri, number

_LOOK_S = 0.25  # between looks whether the camera answers or the source was closed
_CONTROL_PORT, _ANSWER_S = 3956, 0.3
_DISCOVERY = bytes((0x42, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01))  # GVCP: acknowledge, please
_TRIES = 3  # datagrams get lost
_DISCOVERED = b"\x00\x03"
_LIST_EVERY = 30  # looks; all interfaces take a second, for a camera whose address changed
_known: dict[str, Device] = {}  # by the URI's place: where a camera was last
_looks = itertools.count(1)
# Codes of the Pixel Format Naming Convention, with what OpenCV calls them.
_GREY = {
    0x01080001: ("Mono8", 8),
    0x01100003: ("Mono10", 10),
    0x01100005: ("Mono12", 12),
    0x01100025: ("Mono14", 14),
    0x01100007: ("Mono16", None),
}
_COLOUR = {
    0x01080008: (1, cv2.COLOR_BayerGRBG2BGR),
    0x01080009: (1, cv2.COLOR_BayerRGGB2BGR),
    0x0108000A: (1, cv2.COLOR_BayerGBRG2BGR),
    0x0108000B: (1, cv2.COLOR_BayerBGGR2BGR),
    0x02180014: (3, cv2.COLOR_RGB2BGR),
    0x02180015: (3, None),
    0x0210001F: (2, cv2.COLOR_YUV2BGR_UYVY),
    0x02100032: (2, cv2.COLOR_YUV2BGR_YUY2),
}


def check_genicam(uri: Uri) -> None:
    """Raise UsageError for a setting that no camera takes, IncompatibleError without Aravis."""
    check_settings(uri)
    require_aravis()


def open_genicam(request: SourceRequest) -> Iterator[Grab]:
    """Open a camera by its serial number, address or Aravis id, or the only one there is.

    Raises SourceLost when it is absent or in use, UsageError for a setting that it refuses,
    IncompatibleError where Aravis is not installed.
    """
    camera = _reopened(request) or _opened(request)
    try:
        _apply(camera, request)
        if "trigger" not in request.uri.options and (source := camera.trigger()):
            warn_of_trigger(request, source)
        camera.start()
    except AravisError as error:
        camera.close(gone=error.gone)
        raise SourceLost(f"{request.name} does not start: {error}.") from error
    except BaseException:
        camera.close()
        raise
    return _grabs(camera, request)


def _reopened(request: SourceRequest) -> AravisCamera | None:
    """Open a camera where it was last, if it answers there: listing all takes a second."""
    known = _known.get(request.uri.place)
    if known is None or not answers_at(known.address):
        return None
    try:
        camera = AravisCamera(known.address)
    except AravisError:
        return None
    try:
        if camera.serial() == known.serial:
            return camera
    except AravisError:
        camera.close(gone=True)
        return None
    camera.close()  # another camera has the address now
    return None


def _opened(request: SourceRequest) -> AravisCamera:
    device = _find(request)
    try:
        camera = AravisCamera(device.address if is_ip(device.address) else device.device_id)
    except AravisError as error:
        raise SourceLost(
            f"{request.name} does not open: {error}. Another program may be using it."
        ) from error
    _known[request.uri.place] = device
    return camera


def answers(uri: Uri) -> bool:
    """Return whether a camera answers: where it was last, else among all that do."""
    known = _known.get(uri.place)
    if known is not None and answers_at(known.address):
        return True
    if known is not None and next(_looks) % _LIST_EVERY:
        return False
    return any(not uri.place or device.is_called(uri.place) for device in list_devices())


def answers_at(address: str) -> bool:
    """Return whether a GigE camera at an IP address answers a discovery (GigE Vision, 14.2)."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(_ANSWER_S)
            asking.connect((address, _CONTROL_PORT))
            asking.send(_DISCOVERY)
            return asking.recv(1024)[2:4] == _DISCOVERED
    except OSError:
        return False  # a USB camera has no address


def _find(request: SourceRequest) -> Device:
    wanted, devices = request.uri.place, list_devices()
    for device in devices:
        if wanted and device.is_called(wanted):
            return device
    if not wanted and len(devices) == 1:
        return devices[0]
    there = ", ".join(f"{device.serial} ({device.address})" for device in devices) or "none"
    raise SourceLost(
        f"{request.name}: no such GenICam camera. Cameras here: {there}. Check its cable and "
        "power, and for a GigE camera that its address fits this network."
    )


def _apply(camera: AravisCamera, request: SourceRequest) -> None:
    setters = {
        "exposure": camera.set_exposure,
        "gain": camera.set_gain,
        "fps": camera.set_frame_rate,  # last: its limits depend on the others
    }
    options = request.uri.options
    try:
        for option, set_text in (
            ("format", camera.set_pixel_format),
            ("trigger", camera.set_trigger),
        ):
            if option in options:
                set_text(options[option])
        for option, set_number in setters.items():
            if option in options:
                set_number(number(request.uri, option, 0))
    except AravisError as error:
        if error.gone:
            raise
        raise UsageError(
            f"{request.name}: option {option}={options[option]} is refused: {error}. List what the "
            "camera takes with: arv-tool-0.8 features"
        ) from error


def _grabs(camera: AravisCamera, request: SourceRequest) -> Iterator[Grab]:
    try:
        indices = itertools.count()
        for image in camera.images(_LOOK_S):
            if request.closed.is_set():
                return
            if image is None:
                _check(camera, request)
            else:
                yield to_image(image, next(indices), request)
    except AravisError as error:
        camera.close(gone=True)
        raise SourceLost(
            f"{request.name}: the camera no longer answers: {error}. Check its cable, power and "
            "network."
        ) from error
    finally:
        camera.close()


def _check(camera: AravisCamera, request: SourceRequest) -> None:
    """Raise AravisError when the camera no longer answers.

    Discovery comes first, since the library repeats its own question for 2.5 s.
    """
    known = _known.get(request.uri.place)
    if known is None or not is_ip(known.address):
        camera.check()
    elif not any(answers_at(known.address) for _ in range(_TRIES)):
        raise AravisError(f"no answer from {known.address}")


def to_image(raw: RawImage, index: int, request: SourceRequest) -> Grab:
    """Return what a camera sent as a frame, or a BadFrame. Raises UsageError for other formats."""
    expected = raw.width * raw.height * (raw.pixel_format >> 16 & 0xFF) // 8
    fault = raw.fault
    if not fault and raw.data.size < expected:
        fault = f"{raw.data.size} bytes, expected {expected}"
    if fault:
        return BadFrame(f"the grab failed: {fault}", index, time.monotonic(), request.name)
    if raw.pixel_format in _GREY:
        name, bits = _GREY[raw.pixel_format]
        depth = depth_of_format(name, bits, request) if bits != 8 else None
        kind = np.uint8 if bits == 8 else np.uint16
        return to_grab(_shaped(raw, kind, 1), index, request.name, depth)
    if raw.pixel_format not in _COLOUR:
        raise UsageError(
            f"{request.name} sends pixel format 0x{raw.pixel_format:08x}. Choose another with "
            "format=Mono8, Mono10, Mono12, Mono16, BayerRG8 (or GR, GB, BG), RGB8 or BGR8."
        )
    channels, code = _COLOUR[raw.pixel_format]
    pixels = _shaped(raw, np.uint8, channels)
    image = pixels if code is None else np.asarray(cv2.cvtColor(pixels, code))
    return to_grab(image, index, request.name, None)


def _shaped(raw: RawImage, kind: Any, channels: int) -> NDArray[Any]:
    """Return the pixels (H, W) or (H, W, channels); rows may be followed by other data."""
    count = raw.width * raw.height * channels
    pixels: NDArray[Any] = raw.data[: count * np.dtype(kind).itemsize].view(kind)
    shape = (raw.height, raw.width) if channels == 1 else (raw.height, raw.width, channels)
    return pixels.reshape(shape)
