"""OpenCV's back ends, and the cameras the system shows. No camera is opened."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import cv2

from edge_ad.machine.host import ROOT

BACK_ENDS = ("FFMPEG", "GSTREAMER", "V4L2")


@dataclass(frozen=True, slots=True)
class OpenCv:
    """`back_ends` are those that load; `gui` is empty for a build without windows."""

    version: str
    back_ends: tuple[str, ...]
    gui: str
    display: bool


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """One /dev/video*; a camera often shows several, of which the first gives images."""

    device: str
    name: str
    readable: bool


def read_opencv() -> OpenCv:
    """Describe the OpenCV that is imported."""
    return OpenCv(
        version=cv2.__version__,
        back_ends=tuple(name for name in BACK_ENDS if _has(name)),
        gui=_gui(cv2.getBuildInformation()),
        display=bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")),
    )


def read_cameras(root: Path = ROOT) -> list[VideoDevice]:
    """The video devices of the system, by number."""
    found = (root / "dev").glob("video*")
    devices = [path for path in found if path.name.removeprefix("video").isdigit()]
    devices.sort(key=lambda path: int(path.name.removeprefix("video")))
    return [_device(path, root) for path in devices]


def _device(path: Path, root: Path) -> VideoDevice:
    try:
        name = (root / "sys/class/video4linux" / path.name / "name").read_text().strip()
    except OSError:
        name = "unknown"
    return VideoDevice(f"/dev/{path.name}", name, os.access(path, os.R_OK | os.W_OK))


def _has(name: str) -> bool:
    """Whether the back end loads: the list in the registry also names plug-ins that are absent."""
    return bool(cv2.videoio_registry.hasBackend(getattr(cv2, f"CAP_{name}")))


def _gui(build: str) -> str:
    """The window system in OpenCV's build information: 'GUI: QT5', or lines like 'GTK+: YES'."""
    part = re.search(r"^\s*GUI:(.*?)\n\s*\n", build, re.MULTILINE | re.DOTALL)
    if not part or part[1].split()[:1] == ["NONE"]:
        return ""
    first = part[1].split("\n")[0].strip()
    if first:
        return first
    found = re.search(r"([\w+]+)(?:\s[\w.]+)*:\s+YES", part[1])
    return found[1] if found else ""
