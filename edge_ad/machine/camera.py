"""List OpenCV's back ends and the system's cameras, without opening a camera."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.machine.host import ROOT
from edge_ad.machine.opencv import describe_problem

BACK_ENDS = ("FFMPEG", "GSTREAMER", "V4L2")


@dataclass(frozen=True, slots=True)
class OpenCv:
    """The OpenCV in use; `back_ends` are those that load, `gui` is empty without window support.

    `problem` is why OpenCV itself does not load; the other fields are empty then.
    """

    version: str
    back_ends: tuple[str, ...]
    gui: str
    display: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """One /dev/video*; a camera often shows several, of which the first gives images."""

    device: str
    name: str
    readable: bool


def read_opencv() -> OpenCv:
    """Import OpenCV and describe it, or why it does not load."""
    display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    try:
        import cv2
    except ImportError as error:
        return OpenCv("", (), "", display, problem=describe_problem(error))
    return OpenCv(
        version=cv2.__version__,
        back_ends=tuple(name for name in BACK_ENDS if _has(cv2, name)),
        gui=_gui(cv2.getBuildInformation()),
        display=display,
    )


def read_cameras(root: Path = ROOT) -> list[VideoDevice]:
    """Return the video devices of the system, by number."""
    paths = (root / "dev").glob("video*")
    devices = [path for path in paths if path.name.removeprefix("video").isdigit()]
    devices.sort(key=lambda path: int(path.name.removeprefix("video")))
    return [_device(path, root) for path in devices]


def _device(path: Path, root: Path) -> VideoDevice:
    try:
        name = (root / "sys/class/video4linux" / path.name / "name").read_text().strip()
    except OSError:
        name = "unknown"
    return VideoDevice(f"/dev/{path.name}", name, os.access(path, os.R_OK | os.W_OK))


def _has(cv2: Any, name: str) -> bool:
    """Return whether a back end loads: OpenCV's registry also lists plug-ins that are absent."""
    return bool(cv2.videoio_registry.hasBackend(getattr(cv2, f"CAP_{name}")))


def _gui(build: str) -> str:
    """Return the window system from OpenCV's build information: 'GUI: QT5' or 'GTK+: YES'."""
    part = re.search(r"^\s*GUI:(.*?)\n\s*\n", build, re.MULTILINE | re.DOTALL)
    if not part or part[1].split()[:1] == ["NONE"]:
        return ""
    first = part[1].split("\n")[0].strip()
    if first:
        return first
    match = re.search(r"([\w+]+)(?:\s[\w.]+)*:\s+YES", part[1])
    return match[1] if match else ""
