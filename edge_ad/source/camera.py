"""Cameras through OpenCV: V4L2 devices, network streams, Jetson CSI ports, GStreamer pipelines."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import Frame, Grab
from edge_ad.images import to_bgr8
from edge_ad.source.uri import Uri, check_options, number, whole

CAMERA_OPTIONS = ("width", "height", "fps", "format")
CSI_OPTIONS = ("width", "height", "fps", "flip")
_APPSINK = "appsink drop=true max-buffers=1 sync=false"
_FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"  # the only door OpenCV has for the transport
_environment = threading.Lock()


def open_v4l2(uri: Uri, name: str) -> Iterator[Grab]:
    """A camera at a device file; width, height, fps and format (like MJPG) as options.

    Raises SourceLost when it does not open, UsageError when it cannot give the size asked for.
    """
    check_options(uri, CAMERA_OPTIONS)
    wanted_wh = (whole(uri, "width", 0), whole(uri, "height", 0))
    fps, code = number(uri, "fps", 0), _fourcc(uri)
    _check_device(Path(uri.place))
    capture = cv2.VideoCapture(uri.place, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise SourceLost(
            f"{uri.place} does not open as a camera. It may be in use by another program "
            f"(fuser {uri.place} tells which), or give no images (v4l2-ctl --list-devices)."
        )
    settings = zip(_PROPERTIES, (code, *wanted_wh, fps), strict=True)
    for setting, value in settings:  # the format first: it decides which sizes there are
        if value:
            capture.set(setting, value)
    return _checked_size(_frames(capture, name), wanted_wh, uri.place)


def open_network(uri: Uri, name: str, *, open_within_s: float, timeout_s: float) -> Iterator[Grab]:
    """An RTSP camera, over TCP, or an HTTP stream; both waits are bounded inside OpenCV too."""
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(open_within_s * 1000)]
    limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(timeout_s * 1000)]
    with _rtsp_over_tcp():
        capture = cv2.VideoCapture(uri.place, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        raise SourceLost(
            f"{name} does not open. Check the address, user and password with a player "
            f"(ffplay -rtsp_transport tcp), and that the camera allows one more viewer."
        )
    return _frames(capture, name)


def open_csi(uri: Uri, name: str) -> Iterator[Grab]:
    """A camera on a Jetson's CSI port: `csi://0?width=1920&height=1080&fps=30&flip=2`."""
    return open_pipeline(csi_pipeline(uri), name)


def open_pipeline(pipeline: str, name: str) -> Iterator[Grab]:
    """Any GStreamer pipeline; without an appsink at its end, a converting one is added."""
    if not _has_gstreamer():
        raise SourceLost(
            f"{name}: this OpenCV ({cv2.__version__}) was built without GStreamer; the wheels on "
            "the package index are. On a Jetson use the system's OpenCV: uninstall opencv-python "
            "and make the virtual environment with --system-site-packages."
        )
    capture = cv2.VideoCapture(with_appsink(pipeline), cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise SourceLost(f"{name} does not start. Try its pipeline with gst-launch-1.0.")
    return _frames(capture, name)


def csi_pipeline(uri: Uri) -> str:
    """The pipeline for a CSI camera: captured and scaled in NVMM memory, handed over as BGR."""
    check_options(uri, CSI_OPTIONS)
    if not uri.place.isdigit():
        raise UsageError(f"csi:// wants a port number, like csi://0; got '{uri.place}'.")
    width, height = whole(uri, "width", 1920, least=1), whole(uri, "height", 1080, least=1)
    fps, flip = whole(uri, "fps", 30, least=1), whole(uri, "flip", 0)
    return (
        f"nvarguscamerasrc sensor-id={uri.place} ! "
        f"video/x-raw(memory:NVMM),width={width},height={height},framerate={fps}/1 ! "
        f"nvvidconv flip-method={flip} ! video/x-raw,format=BGRx ! "
        f"videoconvert ! video/x-raw,format=BGR ! {_APPSINK}"
    )


def with_appsink(pipeline: str) -> str:
    """The pipeline, ending where OpenCV can take BGR frames."""
    if "appsink" in pipeline:
        return pipeline
    return f"{pipeline.rstrip(' !')} ! videoconvert ! video/x-raw,format=BGR ! {_APPSINK}"


_PROPERTIES = (
    cv2.CAP_PROP_FOURCC,
    cv2.CAP_PROP_FRAME_WIDTH,
    cv2.CAP_PROP_FRAME_HEIGHT,
    cv2.CAP_PROP_FPS,
)


def _frames(capture: cv2.VideoCapture, name: str) -> Iterator[Grab]:
    try:
        for index in itertools.count():
            read, image = capture.read()
            if not read:
                raise SourceLost(
                    f"{name}: the camera stopped delivering after {index} frames. Check its cable, "
                    "power and network."
                )
            yield Frame(to_bgr8(np.asarray(image), name), index, time.monotonic(), name)
    finally:
        capture.release()


def _checked_size(grabs: Iterator[Grab], wanted_wh: Sequence[int], name: str) -> Iterator[Grab]:
    """Refuse a camera that chose another size: every region of interest would be wrong."""
    for grab in grabs:
        if isinstance(grab, Frame):
            found_wh = (grab.image.shape[1], grab.image.shape[0])
            if any(want not in (0, found) for want, found in zip(wanted_wh, found_wh, strict=True)):
                raise UsageError(
                    f"{name} gives {found_wh[0]}x{found_wh[1]}, asked for "
                    f"{wanted_wh[0] or 'any'}x{wanted_wh[1] or 'any'}. Its sizes are listed by: "
                    f"v4l2-ctl -d {name} --list-formats-ext"
                )
        yield grab


def _fourcc(uri: Uri) -> int:
    code = uri.options.get("format", "")
    if code and len(code) != 4:
        raise UsageError(f"option format wants four letters, like MJPG or YUYV; got '{code}'.")
    return cv2.VideoWriter.fourcc(*code) if code else 0


def _check_device(device: Path) -> None:
    if not device.exists():
        found = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
        raise SourceLost(
            f"{device}: no such camera. Cameras here: {found}. Check its cable, and in a "
            "container that the device is passed in."
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceLost(
            f"{device}: not allowed to open it. Add yourself to the group video, log in again: "
            "sudo usermod -aG video $USER"
        )


def _has_gstreamer() -> bool:
    return any(
        "GStreamer" in line and "YES" in line for line in cv2.getBuildInformation().splitlines()
    )


@contextlib.contextmanager
def _rtsp_over_tcp() -> Iterator[None]:
    """Ask FFmpeg for TCP, since torn frames over UDP look like defects; a user's own wish wins."""
    with _environment:
        before = os.environ.get(_FFMPEG_OPTIONS)
        os.environ.setdefault(_FFMPEG_OPTIONS, "rtsp_transport;tcp")
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(_FFMPEG_OPTIONS, None)
