"""List the features of edge-ad on this machine, and how to install what they are missing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import url2pathname

from edge_ad.machine.camera import OpenCv, VideoDevice
from edge_ad.machine.gpu import Gpus
from edge_ad.machine.host import Jetson
from edge_ad.machine.opencv import WINDOWS_FIX, fix
from edge_ad.machine.packages import Package

# As in setup.cfg. TensorRT's extras are not here: `gpu_features` checks what really loads.
_EXTRAS = {
    "onnxruntime": "engines on any CPU (.onnx)",
    "video": "network cameras and video files (rtsp://, .mp4)",
    "evaluate": "reports with curves and tables",
    "train": "training",
    "export": "exporting and converting engines",
    "calibrate": "quantizing to int8",
    "openvino": "engines on OpenVINO (--runtime openvino)",
    "metrics": "metrics for Prometheus (run --metrics)",
    "page": "the operator's page (page)",
    "bundle": "signed bundles (bundle, keys)",
    "rejudge": "judging archives again (rejudge)",
    "triton": "models for a Triton server (export-triton)",
    "ray": "archives on a Ray cluster (rejudge --ray)",
    "pylon": "Basler cameras (pylon://)",
    "mqtt": "MQTT brokers (outlets mqtt://, mqtts://)",
    "modbus": "Modbus TCP (outlets modbus-tcp://, modbus-client://)",
    "gpio": "GPIO lines (outlet gpio://, --trigger gpio:)",
    "opcua": "an OPC UA server (outlet opcua://)",
}
# A wheel of OpenCV hides the system's, which alone has GStreamer; that one was built for NumPy 1.
_SYSTEM_OPENCV = (
    "sudo apt install python3-opencv && python3 -m venv --system-site-packages .venv && "
    ".venv/bin/pip install {edge_ad} 'numpy<2' && "
    ".venv/bin/pip uninstall -y opencv-python-headless"
)


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature; `missing` is empty when it works, `fix` is the command or advice that helps."""

    name: str
    missing: str = ""
    fix: str = ""


def extra_features(missing: dict[str, list[str]]) -> Iterator[Feature]:
    """Yield one feature for each extra of edge-ad; `missing` maps extras to absent packages."""
    for extra, packages in missing.items():
        if extra in _EXTRAS:
            fix = f"pip install 'edge-ad[{extra}]'" if packages else ""
            yield Feature(_EXTRAS[extra], _format_missing(packages), fix)


def camera_features(
    opencv: OpenCv, devices: list[VideoDevice], back_ends: Mapping[str, str]
) -> Iterator[Feature]:
    """Yield every kind of camera in `back_ends`, which names OpenCV's part for it, and the window.

    A kind on V4L2 also needs one of `devices`. All need an OpenCV that loads, as every verb does.
    """
    if opencv.problem:
        yield Feature("inspecting, and every other verb than doctor", "OpenCV", fix())
        return
    yield Feature("images (OpenCV)")
    for name, back_end in back_ends.items():
        yield _camera(name, back_end, opencv, devices)
    yield _window(opencv)


def own_requirement(extra: str) -> str:
    """Return what pip installs this edge-ad from, quoted for a shell: its source, else its name."""
    name = "edge-ad"
    with suppress(PackageNotFoundError):
        origin = json.loads(distribution(name).read_text("direct_url.json") or "{}")
        if origin.get("url", "").startswith("file://"):
            name = url2pathname(urlsplit(origin["url"]).path)
    return shlex.quote(f"{name}[{extra}]")


def gpu_features(gpus: Gpus, jetson: Jetson | None, packages: list[Package]) -> Iterator[Feature]:
    """Yield compiling and running plans; `packages` are TensorRT's runtimes and PyCUDA."""
    by_name = {package.name: package for package in packages}
    runtimes = [by_name["tensorrt"], by_name["tensorrt_rtx"]]
    yield _tensorrt(runtimes, gpus, jetson)
    pycuda = by_name["pycuda"]
    missing = [*_missing_gpu(gpus), *_problems([pycuda])]
    if not any(runtime.usable for runtime in runtimes):
        missing.append("TensorRT")
    fix = "" if pycuda.usable else "pip install pycuda"
    if gpus.problem and jetson is None:
        fix = " && ".join(filter(None, ["sudo ubuntu-drivers install", fix]))
        if gpus.absent:
            fix = f"put an NVIDIA GPU in, then: {fix}"
    yield Feature("running plans on a GPU (.plan)", "; ".join(missing), fix if missing else "")


def _missing_gpu(gpus: Gpus) -> list[str]:
    if gpus.devices:
        return []
    return [f"an NVIDIA GPU: {gpus.problem}" if gpus.problem else "an NVIDIA GPU"]


def _camera(name: str, back_end: str, opencv: OpenCv, devices: list[VideoDevice]) -> Feature:
    if back_end == "PyAV":
        missing = not find_spec("av")
        fix = "pip install 'edge-ad[video]'"
        return Feature(name, "the package av", fix) if missing else Feature(name)
    if back_end not in opencv.back_ends:
        fix = "pip install opencv-python-headless"
        if back_end == "GSTREAMER":
            fix = _SYSTEM_OPENCV.format(edge_ad=own_requirement("onnxruntime"))
        return Feature(name, f"OpenCV's {back_end} back end", fix)
    return _device(name, devices) if back_end == "V4L2" else Feature(name)


def _device(name: str, devices: list[VideoDevice]) -> Feature:
    if not devices:
        return Feature(
            name, "a camera: there is no /dev/video*", "plug one in, then: ls /dev/video*"
        )
    closed = [device.device for device in devices if not device.readable]
    if closed:
        return Feature(
            name,
            f"permission to read {', '.join(closed)}",
            'sudo usermod -aG video "$USER", then log in again',
        )
    return Feature(name)


def _window(opencv: OpenCv) -> Feature:
    name = "the preview window (run --show)"
    if not opencv.gui:
        return Feature(name, "an OpenCV with windows", WINDOWS_FIX)
    if not opencv.display:
        return Feature(name, "a display", "export DISPLAY=:0, in a desktop session of this machine")
    return Feature(name)


def _tensorrt(runtimes: list[Package], gpus: Gpus, jetson: Jetson | None) -> Feature:
    name = "compiling plans"
    if any(runtime.usable for runtime in runtimes):
        return Feature(name)
    broken = _problems([runtime for runtime in runtimes if runtime.version])
    fix = "pip install tensorrt-rtx-cu13" if gpus.absent else "pip install tensorrt"
    if jetson is not None:
        fix = "sudo apt install nvidia-jetpack && python3 -m venv --system-site-packages .venv"
    return Feature(name, "; ".join(broken) or "TensorRT or TensorRT-RTX", fix)


def _problems(packages: Iterable[Package]) -> list[str]:
    return [
        f"{package.name} ({package.problem})" if package.problem else package.name
        for package in packages
        if not package.usable
    ]


def _format_missing(packages: list[str]) -> str:
    if not packages:
        return ""
    return f"the Python package{'s' if len(packages) > 1 else ''} {', '.join(packages)}"
