"""Call the system's Aravis library, which speaks to GenICam cameras (GigE Vision, USB3 Vision).

Through ctypes and not PyGObject: that has no wheels, needs a compiler and the headers of GObject
and cairo in a virtual environment, and the distribution's build of it fits one version of Python.
Aravis itself is a package of every distribution.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import suppress
from ctypes import POINTER, Structure, c_char_p, c_double, c_int, c_size_t, c_uint, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isclose
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import IncompatibleError

_listing = threading.Lock()  # the library has one list of devices
_releasing: dict[str, threading.Thread] = {}  # by device id
_RELEASED_WITHIN_S = 5.0
_BUFFERS = 8  # the camera fills some while the newest is read
_NEAR = 0.01  # a limit of 29.97 takes 30
_NO_ANSWER = frozenset({2, 4, 5, 10})  # ArvDeviceError: not connected, transfer, timeout, control
_STATUS = {
    2: "packets did not arrive in time",
    3: "packets are missing",
    4: "packets have wrong numbers",
    5: "the camera sends another size",
    7: "the transfer was aborted",
    8: "the camera sends something else than an image",
}


class AravisError(Exception):
    """A call of Aravis failed, with its message; `gone` when the camera did not answer it."""

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


class _GError(Structure):
    _fields_ = (("domain", c_uint), ("code", c_int), ("message", c_char_p))


_ERROR, _DOUBLE = POINTER(POINTER(_GError)), POINTER(c_double)
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "arv_update_device_list": (None, []),
    "arv_get_n_devices": (c_uint, []),
    "arv_get_device_id": (c_char_p, [c_uint]),
    "arv_get_device_serial_nbr": (c_char_p, [c_uint]),
    "arv_get_device_address": (c_char_p, [c_uint]),
    "arv_device_error_quark": (c_uint, []),
    "arv_camera_new": (c_void_p, [c_char_p, _ERROR]),
    "arv_camera_is_gv_device": (c_int, [c_void_p]),
    "arv_camera_get_device": (c_void_p, [c_void_p]),
    "arv_gv_device_is_controller": (c_int, [c_void_p]),
    "arv_camera_create_stream": (c_void_p, [c_void_p, c_void_p, c_void_p, _ERROR]),
    "arv_camera_get_payload": (c_uint, [c_void_p, _ERROR]),
    "arv_camera_start_acquisition": (None, [c_void_p, _ERROR]),
    "arv_camera_stop_acquisition": (None, [c_void_p, _ERROR]),
    "arv_camera_set_exposure_time": (None, [c_void_p, c_double, _ERROR]),
    "arv_camera_set_exposure_time_auto": (None, [c_void_p, c_int, _ERROR]),
    "arv_camera_set_gain": (None, [c_void_p, c_double, _ERROR]),
    "arv_camera_set_gain_auto": (None, [c_void_p, c_int, _ERROR]),
    "arv_camera_set_frame_rate": (None, [c_void_p, c_double, _ERROR]),
    "arv_camera_get_exposure_time_bounds": (None, [c_void_p, _DOUBLE, _DOUBLE, _ERROR]),
    "arv_camera_get_gain_bounds": (None, [c_void_p, _DOUBLE, _DOUBLE, _ERROR]),
    "arv_camera_get_frame_rate_bounds": (None, [c_void_p, _DOUBLE, _DOUBLE, _ERROR]),
    "arv_camera_set_pixel_format_from_string": (None, [c_void_p, c_char_p, _ERROR]),
    "arv_camera_set_trigger": (None, [c_void_p, c_char_p, _ERROR]),
    "arv_camera_get_trigger_source": (c_char_p, [c_void_p, _ERROR]),
    "arv_camera_get_string": (c_char_p, [c_void_p, c_char_p, _ERROR]),
    "arv_camera_get_device_serial_number": (c_char_p, [c_void_p, _ERROR]),
    "arv_buffer_new_allocate": (c_void_p, [c_size_t]),
    "arv_buffer_get_status": (c_int, [c_void_p]),
    "arv_buffer_get_data": (c_void_p, [c_void_p, POINTER(c_size_t)]),
    "arv_buffer_get_image_width": (c_int, [c_void_p]),
    "arv_buffer_get_image_height": (c_int, [c_void_p]),
    "arv_buffer_get_image_pixel_format": (c_uint, [c_void_p]),
    "arv_stream_push_buffer": (None, [c_void_p, c_void_p]),
    "arv_stream_timeout_pop_buffer": (c_void_p, [c_void_p, ctypes.c_uint64]),
}


@lru_cache(maxsize=1)
def _libraries() -> tuple[ctypes.CDLL, ctypes.CDLL, ctypes.CDLL]:
    try:
        aravis = ctypes.CDLL("libaravis-0.8.so.0")
        gobject, glib = ctypes.CDLL("libgobject-2.0.so.0"), ctypes.CDLL("libglib-2.0.so.0")
    except OSError as error:
        raise IncompatibleError(
            f"genicam:// needs the library Aravis, version 0.8, which does not load ({error}). "
            "Install it with: sudo apt install libaravis-0.8-0"
        ) from error
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(aravis, name)
        function.restype, function.argtypes = result, arguments
    gobject.g_object_unref.argtypes, gobject.g_object_unref.restype = [c_void_p], None
    glib.g_error_free.argtypes, glib.g_error_free.restype = [c_void_p], None
    return aravis, gobject, glib


def require_aravis() -> None:
    """Raise IncompatibleError when Aravis is not installed."""
    _libraries()


def _call(name: str, *arguments: Any) -> Any:
    """Call a function whose last argument is a GError. Raises AravisError."""
    aravis, _, glib = _libraries()
    error = POINTER(_GError)()
    result = getattr(aravis, name)(*arguments, ctypes.byref(error))
    if error:
        kind, code = error.contents.domain, error.contents.code
        message = (error.contents.message or b"").decode(errors="replace")
        glib.g_error_free(error)
        gone = kind == aravis.arv_device_error_quark() and code in _NO_ANSWER
        raise AravisError(message, gone=gone)
    return result


@dataclass(frozen=True, slots=True)
class Device:
    """A camera that answered; `device_id` opens it."""

    device_id: str
    serial: str
    address: str

    def is_called(self, name: str) -> bool:
        """Return whether a name is its serial number, its address or its id."""
        return name in {self.serial, self.address, self.device_id}


def list_devices() -> list[Device]:
    """Ask all interfaces for cameras. Raises IncompatibleError when Aravis is not installed."""
    aravis, *_ = _libraries()
    with _listing:
        aravis.arv_update_device_list()
        fields = [
            (
                aravis.arv_get_device_id(index),
                aravis.arv_get_device_serial_nbr(index),
                aravis.arv_get_device_address(index),
            )
            for index in range(aravis.arv_get_n_devices())
        ]
    return [
        Device(*((text or b"").decode(errors="replace") for text in device)) for device in fields
    ]


@dataclass(frozen=True, slots=True)
class RawImage:
    """What a camera sent: bytes of a pixel format, or the reason why they are not an image."""

    data: NDArray[np.uint8]
    width: int
    height: int
    pixel_format: int
    fault: str = ""


class AravisCamera:
    """An open camera. Every method may raise AravisError; `close` does not."""

    def __init__(self, device_id: str) -> None:
        """Open a camera by its id, or by its IP address, for which the library needs no list."""
        self._device_id = device_id
        self._stream: int | None = None
        if device_id in _releasing:
            _releasing[device_id].join(_RELEASED_WITHIN_S)
        self._camera: int | None = _call("arv_camera_new", device_id.encode())
        if not self._is_controlled():
            threading.Thread(target=_release, args=([self._camera],), daemon=True).start()
            raise AravisError("the camera gives no control", gone=True)
        _stop(self._camera)  # a program that was killed left it delivering: settings are locked

    def set_exposure(self, microseconds: float) -> None:
        """Set a fixed exposure time."""
        self._switch_off("arv_camera_set_exposure_time_auto")
        self._set("exposure_time", microseconds)

    def set_gain(self, gain: float) -> None:
        """Set a fixed gain."""
        self._switch_off("arv_camera_set_gain_auto")
        self._set("gain", gain)

    def set_frame_rate(self, fps: float) -> None:
        """Set frames per second."""
        self._set("frame_rate", fps)

    def set_pixel_format(self, name: str) -> None:
        """Set the pixel format by its GenICam name."""
        _call("arv_camera_set_pixel_format_from_string", self._camera, name.encode())

    def set_trigger(self, source: str) -> None:
        """Let every frame wait for a trigger from this source, such as Line1."""
        _call("arv_camera_set_trigger", self._camera, source.encode())

    def trigger(self) -> str:
        """Return the input whose signal every frame waits for, empty when none has to."""
        try:
            if _call("arv_camera_get_string", self._camera, b"TriggerMode") != b"On":
                return ""
            source: bytes = _call("arv_camera_get_trigger_source", self._camera) or b""
        except AravisError as error:
            if error.gone:
                raise
            return ""  # a camera without triggers
        return source.decode(errors="replace")

    def serial(self) -> str:
        """Return the serial number."""
        text: bytes = _call("arv_camera_get_device_serial_number", self._camera) or b""
        return text.decode(errors="replace")

    def start(self) -> None:
        """Begin to deliver images."""
        aravis, *_ = _libraries()
        self._stream = _call("arv_camera_create_stream", self._camera, None, None)
        for _ in range(_BUFFERS):
            aravis.arv_stream_push_buffer(
                self._stream, aravis.arv_buffer_new_allocate(self.check())
            )
        _call("arv_camera_start_acquisition", self._camera)

    def check(self) -> int:
        """Return the bytes of an image, asked of the camera: raises when it no longer answers."""
        return int(_call("arv_camera_get_payload", self._camera))

    def images(self, timeout_s: float) -> Iterator[RawImage | None]:
        """Yield images, each a copy, and None whenever none came in time."""
        aravis, *_ = _libraries()
        while True:
            buffer = aravis.arv_stream_timeout_pop_buffer(self._stream, round(timeout_s * 1e6))
            if not buffer:
                yield None
                continue
            image = _copy(buffer)
            aravis.arv_stream_push_buffer(self._stream, buffer)
            yield image

    def close(self, *, gone: bool = False) -> None:
        """Stop and release the camera; a second call does nothing.

        The library asks a camera that is `gone` again and again for 10 s and more until it releases
        it, so it does that in a thread. One that is back answers it at once, so whoever opens the
        camera again waits for that: the release would stop the new stream.
        """
        stream, camera, self._stream, self._camera = self._stream, self._camera, None, None
        things = [thing for thing in (stream, camera) if thing]
        if gone:
            releasing = threading.Thread(target=_release, args=(things,), daemon=True)
            _releasing[self._device_id] = releasing
            releasing.start()
            return
        if stream and camera:
            _stop(camera)
        _release(things)

    def _is_controlled(self) -> bool:
        """Return whether this program may set the camera: one of GigE serves others, read only."""
        aravis, *_ = _libraries()
        if not aravis.arv_camera_is_gv_device(self._camera):
            return True
        device = aravis.arv_camera_get_device(self._camera)
        return bool(aravis.arv_gv_device_is_controller(device))

    def _set(self, feature: str, value: float) -> None:
        """Set a number within the camera's limits; the library ignores or wraps some beyond."""
        low, high = self._limits(feature)
        nearest = min(max(value, low), high)
        if not isclose(value, nearest, rel_tol=_NEAR):
            raise AravisError(f"the camera takes {low:g} to {high:g}")
        _call(f"arv_camera_set_{feature}", self._camera, nearest)

    def _limits(self, feature: str) -> tuple[float, float]:
        low, high = c_double(), c_double()
        limits = ctypes.byref(low), ctypes.byref(high)
        try:
            _call(f"arv_camera_get_{feature}_bounds", self._camera, *limits)
        except AravisError as error:
            if error.gone:
                raise
            return -inf, inf  # it does not say
        return low.value, high.value

    def _switch_off(self, automatic: str) -> None:
        with suppress(AravisError):  # a camera without that automatic
            _call(automatic, self._camera, 0)


def _stop(camera: int) -> None:
    with suppress(AravisError):  # it is gone, or does not deliver
        _call("arv_camera_stop_acquisition", camera)


def _release(things: list[int]) -> None:
    _, gobject, _ = _libraries()
    for thing in things:
        gobject.g_object_unref(thing)


def _copy(buffer: int) -> RawImage:
    aravis, *_ = _libraries()
    status = aravis.arv_buffer_get_status(buffer)
    if status:
        fault = _STATUS.get(status, f"status {status}")
        return RawImage(np.empty(0, np.uint8), 0, 0, 0, fault)
    size = c_size_t()
    address = aravis.arv_buffer_get_data(buffer, ctypes.byref(size))
    data = np.frombuffer(ctypes.string_at(address, size.value), np.uint8)
    width, height = (
        aravis.arv_buffer_get_image_width(buffer),
        aravis.arv_buffer_get_image_height(buffer),
    )
    return RawImage(data, width, height, aravis.arv_buffer_get_image_pixel_format(buffer))
