"""Open cameras with OpenCV: V4L2 devices, CSI ports, GStreamer pipelines."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError, IncompatibleError, SourceLost, UsageError
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.images import BitDepth, motion_jpeg_damage, to_bgr8
from edge_ad.source.base import SourceRequest
from edge_ad.uri import Uri, number, whole_number

GREY_FORMATS = {"Y10": 10, "Y12": 12, "Y14": 14, "Y16": None}  # V4L2's; Y16 may hold any depth
JPEG_FORMATS = frozenset({"MJPG", "JPEG"})
_SAME_RATE = 0.01  # 29.97 is 30
_MANUAL = 1  # V4L2_EXPOSURE_MANUAL
_APPSINK = "appsink drop=true max-buffers=1 sync=false"


def check_v4l2(uri: Uri) -> None:
    """Raise UsageError for an option that no V4L2 camera takes."""
    _size_wh(uri)
    _fourcc(uri)
    check_settings(uri)


def check_settings(uri: Uri) -> None:
    """Raise UsageError for an exposure, gain or rate that no camera takes."""
    for option in ("exposure", "gain", "fps"):
        number(uri, option, 0)


def open_v4l2(request: SourceRequest) -> Iterator[Grab]:
    """Open a camera at a device file.

    Raises SourceLost when it does not open, or is unplugged meanwhile, UsageError when it takes
    another size, format or rate than the options ask for.
    """
    uri = request.uri
    expected_wh = _size_wh(uri)
    fps, code = number(uri, "fps", 0), _fourcc(uri)
    _check_device(Path(uri.place))
    capture = cv2.VideoCapture(uri.place, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise SourceLost(
            f"{uri.place} does not open as a camera. Another program may be using it (see: fuser "
            f"{uri.place}), or it may not be a capture device (see: v4l2-ctl --list-devices)."
        )
    settings = zip(_PROPERTIES, (code, *expected_wh, fps), strict=True)
    for setting, value in settings:  # the format first: it determines the available sizes
        if value:
            capture.set(setting, value)
    _check_format_and_rate(capture, uri)
    _fix_exposure(capture, uri)
    depth = _grey_depth(capture, request)
    _keep_jpegs(capture)
    return check_size(_frames(capture, request.name, depth), expected_wh, uri.place)


def _check_format_and_rate(capture: cv2.VideoCapture, uri: Uri) -> None:
    """Raise UsageError, and release the camera, when its driver has chosen others.

    What a driver does not say is not compared.
    """
    fps, now = number(uri, "fps", 0), capture.get(cv2.CAP_PROP_FPS)
    if fps and now and not math.isclose(fps, now, rel_tol=_SAME_RATE):
        raise _not_taken(capture, uri, "fps", f"{now:g}", "--list-formats-ext")
    name, chosen = uri.options.get("format", "").strip(), _format_name(capture).strip("\0")
    if name and chosen and name != chosen:
        raise _not_taken(capture, uri, "format", chosen, "--list-formats-ext")


def _fix_exposure(capture: cv2.VideoCapture, uri: Uri) -> None:
    """Set exposure and gain as asked, with their automatics off: light must not drift.

    Raises UsageError, and releases the camera, when its driver refuses or changes a value.
    """
    if "exposure" in uri.options:
        capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL)
    for option, setting in (("exposure", cv2.CAP_PROP_EXPOSURE), ("gain", cv2.CAP_PROP_GAIN)):
        if option not in uri.options:
            continue
        value = number(uri, option, 0)
        if not capture.set(setting, value) or capture.get(setting) != value:
            raise _not_taken(capture, uri, option, f"{capture.get(setting):g}", "--list-ctrls")


def _not_taken(
    capture: cv2.VideoCapture, uri: Uri, option: str, now: str, listing: str
) -> UsageError | SourceLost:
    """Release a camera and return the error for an option that its driver has not taken."""
    capture.release()
    if not Path(uri.place).exists():
        return SourceLost(f"{uri.place}: the camera was unplugged while it opened.")
    return UsageError(
        f"{uri.place}: option {option}={uri.options[option]} was not taken, the driver has {now}. "
        f"List what it takes with: v4l2-ctl -d {uri.place} {listing}"
    )


def _grey_depth(capture: cv2.VideoCapture, request: SourceRequest) -> BitDepth | None:
    """Return the depth of a camera's deep grey values, and have them delivered as they are.

    OpenCV would reduce Y16 to its upper 8 bits, of which a 12-bit sensor fills four. Raises
    UsageError for a depth that contradicts the pixel format.
    """
    name = _format_name(capture)
    if name not in GREY_FORMATS:
        return request.depth()
    capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    return deep_grey(name, request)


def _keep_jpegs(capture: cv2.VideoCapture) -> None:
    """Have JPEGs delivered as they come: OpenCV decodes damaged ones without a word to us."""
    if _format_name(capture) in JPEG_FORMATS:
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)


def _format_name(capture: cv2.VideoCapture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=False)
    return code.decode("ascii", "replace").strip()


def deep_grey(format_name: str, request: SourceRequest) -> BitDepth | None:
    """Return the depth of frames in one of V4L2's deep grey formats."""
    return depth_of_format(format_name, GREY_FORMATS[format_name], request)


def depth_of_format(format_name: str, bits: int | None, request: SourceRequest) -> BitDepth | None:
    """Return the depth of a pixel format of `bits`, the request's where that is open (None).

    Raises UsageError when the request has another depth than the format.
    """
    depth = request.depth()
    if bits is None or (depth is not None and depth.bits == bits):
        return depth
    if depth is not None and depth.bits != 8:
        raise UsageError(
            f"{request.name} delivers {format_name}, which has {bits} bits, expected {depth}. "
            "Choose another format, or omit the depth."
        )
    return BitDepth(bits, f"pixel format {format_name}", given=False)


def check_csi(uri: Uri) -> None:
    """Raise UsageError for a wrong port or option, IncompatibleError without GStreamer."""
    csi_pipeline(uri)
    _check_gstreamer(uri)


def check_gstreamer(uri: Uri) -> None:
    """Raise UsageError for no pipeline, IncompatibleError without GStreamer."""
    if not uri.place.strip():
        raise UsageError("gst: expects a pipeline, like gst:v4l2src ! jpegdec; got none.")
    _check_gstreamer(uri)


def open_csi(request: SourceRequest) -> Iterator[Grab]:
    """Open a camera on a Jetson's CSI port."""
    return _open_pipeline(csi_pipeline(request.uri), request)


def open_gstreamer(request: SourceRequest) -> Iterator[Grab]:
    """Open a GStreamer pipeline; one without an appsink gets one that converts to BGR."""
    return _open_pipeline(with_appsink(request.uri.place), request)


def _open_pipeline(pipeline: str, request: SourceRequest) -> Iterator[Grab]:
    name = request.name
    capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise SourceLost(f"{name} does not start. Try its pipeline with gst-launch-1.0.")
    return _frames(capture, name, request.depth())


def csi_pipeline(uri: Uri) -> str:
    """Return the pipeline of a CSI camera: captured and scaled in NVMM memory, delivered as BGR."""
    if not (uri.place.isascii() and uri.place.isdigit()):
        raise UsageError(f"csi:// expects a port number, like csi://0; got '{uri.place}'.")
    width = whole_number(uri, "width", 1920, least=1)
    height = whole_number(uri, "height", 1080, least=1)
    fps, flip = whole_number(uri, "fps", 30, least=1), whole_number(uri, "flip", 0)
    return (
        f"nvarguscamerasrc sensor-id={uri.place} ! "
        f"video/x-raw(memory:NVMM),width={width},height={height},framerate={fps}/1 ! "
        f"nvvidconv flip-method={flip} ! video/x-raw,format=BGRx ! "
        f"videoconvert ! video/x-raw,format=BGR ! {_APPSINK}"
    )


def with_appsink(pipeline: str) -> str:
    """Return the pipeline with an appsink at its end, where OpenCV takes BGR or GRAY16_LE frames.

    Values of 16 bits are taken as they are: videoconvert would keep their upper 8 bits only.
    """
    if "appsink" in pipeline:
        return pipeline
    if "GRAY16" in pipeline:
        return f"{pipeline.rstrip(' !')} ! video/x-raw,format=GRAY16_LE ! {_APPSINK}"
    return f"{pipeline.rstrip(' !')} ! videoconvert ! video/x-raw,format=BGR ! {_APPSINK}"


_PROPERTIES = (
    cv2.CAP_PROP_FOURCC,
    cv2.CAP_PROP_FRAME_WIDTH,
    cv2.CAP_PROP_FRAME_HEIGHT,
    cv2.CAP_PROP_FPS,
)


def _frames(capture: cv2.VideoCapture, name: str, depth: BitDepth | None) -> Iterator[Grab]:
    try:
        for index in itertools.count():
            read, image = capture.read()
            if not read:
                raise SourceLost(
                    f"{name}: the camera stopped delivering after {index} frames. Check its cable, "
                    "power and network."
                )
            pixels = np.asarray(image)
            yield (jpeg_grab if is_jpeg(pixels) else to_grab)(pixels, index, name, depth)
    finally:
        capture.release()


def is_jpeg(image: NDArray[Any]) -> bool:
    """Return whether a camera's array is a JPEG, perhaps damaged: one row of bytes."""
    return image.dtype == np.uint8 and image.size == max(image.shape) > 1


def jpeg_grab(image: NDArray[Any], index: int, name: str, depth: BitDepth | None) -> Grab:
    """Decode a camera's JPEG, or return a BadFrame with libjpeg's complaint."""
    data = image.tobytes()
    damage = motion_jpeg_damage(data)
    pixels = None if damage else cv2.imdecode(image, cv2.IMREAD_ANYCOLOR)
    if pixels is None:
        reason = f"the frame does not decode ({damage or 'no JPEG'})"
        return BadFrame(reason, index, time.monotonic(), name)
    return to_grab(np.asarray(pixels), index, name, depth)


def to_grab(image: NDArray[Any], index: int, name: str, depth: BitDepth | None) -> Grab:
    """Return a camera's array as a frame, or a BadFrame when its values exceed the depth.

    Raises UsageError for 16-bit values of unknown depth.
    """
    captured_s = time.monotonic()
    deep = image.dtype == np.uint16
    if deep and (depth is None or depth.bits == 8):
        raise UsageError(
            f"{name} delivers 16-bit values, of which a sensor rarely fills all. Name its depth "
            "with --bit-depth 10, 12, 14 or 16."
        )
    try:
        bgr = to_bgr8(image, name, depth.bits if depth and deep else None)
    except DataError as error:
        return BadFrame(str(error), index, captured_s, name)
    return Frame(bgr, index, captured_s, name)


def check_size(grabs: Iterator[Grab], expected_wh: Sequence[int], name: str) -> Iterator[Grab]:
    """Raise UsageError for frames of another size: every region of interest would be wrong."""
    for grab in grabs:
        if isinstance(grab, Frame):
            size_wh = (grab.image.shape[1], grab.image.shape[0])
            pairs = zip(expected_wh, size_wh, strict=True)
            if any(expected not in (0, actual) for expected, actual in pairs):
                raise UsageError(
                    f"{name} delivers {size_wh[0]}x{size_wh[1]}, expected "
                    f"{expected_wh[0] or 'any'}x{expected_wh[1] or 'any'}. List its sizes with: "
                    f"v4l2-ctl -d {name} --list-formats-ext"
                )
        yield grab


def _size_wh(uri: Uri) -> tuple[int, int]:
    return whole_number(uri, "width", 0), whole_number(uri, "height", 0)


def _fourcc(uri: Uri) -> int:
    code = uri.options.get("format", "")
    code = f"{code} " if code in GREY_FORMATS else code
    if code and len(code) != 4:
        raise UsageError(f"option format must have four letters, like MJPG or YUYV; got '{code}'.")
    return cv2.VideoWriter.fourcc(*code) if code else 0


def _check_device(device: Path) -> None:
    if not device.exists():
        cameras = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
        raise SourceLost(
            f"{device}: no such camera. Cameras here: {cameras}. Check its cable; in a "
            "container, check that the device is passed in."
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceLost(
            f"{device}: permission denied. Add yourself to the group video and log in again: "
            "sudo usermod -aG video $USER"
        )


def _check_gstreamer(uri: Uri) -> None:
    if not has_gstreamer():
        raise IncompatibleError(
            f"{uri}: this OpenCV ({cv2.__version__}) was built without GStreamer, like all "
            "wheels on the package index. On a Jetson use the system's OpenCV: uninstall "
            "opencv-python-headless and create the virtual environment with --system-site-packages."
        )


def has_gstreamer() -> bool:
    """Return whether OpenCV was built with GStreamer."""
    return any(
        "GStreamer" in line and "YES" in line for line in cv2.getBuildInformation().splitlines()
    )
