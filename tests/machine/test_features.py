"""The missing parts of each feature, and the command that installs them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_ad.machine import camera, packages
from edge_ad.machine.camera import OpenCv, VideoDevice
from edge_ad.machine.features import (
    camera_features,
    extra_features,
    gpu_features,
    own_requirement,
)
from edge_ad.machine.gpu import GpuDevice, Gpus
from edge_ad.machine.host import Jetson
from edge_ad.machine.packages import Package

FULL = OpenCv("4.12.0", ("FFMPEG", "GSTREAMER", "V4L2"), "GTK", display=True)
CAMERA = VideoDevice("/dev/video0", "Example", readable=True)
GPU = Gpus((GpuDevice("Example RTX", "8.9", 8192),), "580.95.05", "13.1")
JETSON = Jetson("Example Orin", "36.4.3", "6")
BACK_ENDS = {"USB cameras": "V4L2", "network cameras": "PyAV", "CSI cameras": "GSTREAMER"}
NO_DRIVER = Gpus(problem="no NVIDIA driver")


def of_camera(opencv: OpenCv, devices: list[VideoDevice]) -> dict[str, tuple[str, str]]:
    return {one.name: (one.missing, one.fix) for one in camera_features(opencv, devices, BACK_ENDS)}


def of_gpu(gpus: Gpus, jetson: Jetson | None, *usable: str) -> dict[str, tuple[str, str]]:
    names = ("tensorrt", "tensorrt_rtx", "pycuda")
    found = [Package(name, "1.0" if name in usable else "") for name in names]
    return {one.name: (one.missing, one.fix) for one in gpu_features(gpus, jetson, found)}


def test_a_driver_is_not_installed_where_no_gpu_is() -> None:
    absent = Gpus(problem="no NVIDIA driver", absent=True)
    _, fix = of_gpu(absent, None, "tensorrt")["running plans on a GPU (.plan)"]
    assert fix == ("put an NVIDIA GPU in, then: sudo ubuntu-drivers install && pip install pycuda")


def test_without_a_gpu_the_runtime_is_advised_that_compiles_without_one() -> None:
    absent = Gpus(problem="no NVIDIA driver", absent=True)
    assert of_gpu(absent, None)["compiling plans"][1] == "pip install tensorrt-rtx-cu13"
    assert of_gpu(GPU, None)["compiling plans"][1] == "pip install tensorrt"


def test_a_complete_machine_is_missing_nothing() -> None:
    cameras = of_camera(FULL, [CAMERA])
    plans = of_gpu(GPU, None, "tensorrt", "pycuda")
    assert set(cameras.values()) | set(plans.values()) == {("", "")}


@pytest.mark.parametrize(
    ("opencv", "devices", "feature", "missing", "fix"),
    [
        pytest.param(
            OpenCv("5.0.0", ("FFMPEG", "V4L2"), "QT5", display=True),
            [CAMERA],
            "CSI cameras",
            "GSTREAMER",
            "pip uninstall -y opencv-python-headless",
            id="the wheel has no GStreamer",
        ),
        pytest.param(FULL, [], "USB cameras", "there is no /dev/video", "plug one in", id="none"),
        pytest.param(
            FULL,
            [VideoDevice("/dev/video0", "Example", readable=False)],
            "USB cameras",
            "permission to read /dev/video0",
            "usermod -aG video",
            id="a camera of another group",
        ),
        pytest.param(
            OpenCv("4.12.0", FULL.back_ends, "", display=True),
            [CAMERA],
            "the preview window (run --show)",
            "an OpenCV with windows",
            "opencv-python-headless",
            id="a headless build",
        ),
        pytest.param(
            OpenCv("4.12.0", FULL.back_ends, "GTK", display=False),
            [CAMERA],
            "the preview window (run --show)",
            "a display",
            "DISPLAY",
            id="no display",
        ),
    ],
)
def test_cameras_and_windows(
    opencv: OpenCv, devices: list[VideoDevice], feature: str, missing: str, fix: str
) -> None:
    found = of_camera(opencv, devices)[feature]
    assert missing in found[0]
    assert fix in found[1]


@pytest.mark.parametrize(
    ("gpus", "jetson", "usable", "missing", "fix"),
    [
        pytest.param(GPU, None, ("tensorrt",), "pycuda", "pip install pycuda", id="no PyCUDA"),
        pytest.param(NO_DRIVER, None, ("tensorrt", "pycuda"), "GPU", "ubuntu-drivers", id="driver"),
        pytest.param(GPU, None, ("pycuda",), "TensorRT", "", id="no TensorRT"),
        pytest.param(Gpus(), JETSON, ("tensorrt", "pycuda"), "an NVIDIA GPU", "", id="no gpu"),
    ],
)
def test_running_plans(
    gpus: Gpus, jetson: Jetson | None, usable: tuple[str, ...], missing: str, fix: str
) -> None:
    found = of_gpu(gpus, jetson, *usable)["running plans on a GPU (.plan)"]
    assert missing in found[0]
    assert fix in found[1]


def test_a_jetson_takes_tensorrt_from_its_system() -> None:
    assert "nvidia-jetpack" in of_gpu(GPU, JETSON)["compiling plans"][1]


def test_a_broken_tensorrt_says_why() -> None:
    broken = Package("tensorrt", "10.3.0", problem="ImportError: libnvinfer.so.10")
    found = list(gpu_features(GPU, None, [broken, Package("tensorrt_rtx"), Package("pycuda")]))
    assert "libnvinfer.so.10" in found[0].missing


def test_an_extra_names_its_packages_and_command() -> None:
    (train,) = extra_features({"train": ["torch"], "lint": ["ruff"]})
    assert (train.name, train.missing) == ("training", "the Python package torch")
    assert train.fix == "pip install 'edge-ad[train]'"


def test_extras_are_read_with_those_they_contain(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = [
        "numpy",
        'edge-ad[inner]; extra == "outer"',
        'surely-absent>=3; extra == "inner"',
        'numpy>=1; extra == "inner"',
    ]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: requirements)
    assert packages.missing_for("outer") == ["surely-absent"]
    assert packages.missing_for("other") == []


@pytest.mark.parametrize(
    ("source", "usable", "says"),
    [
        pytest.param("", True, "", id="loads"),
        pytest.param("import surely_absent", False, "surely_absent", id="raises"),
        pytest.param("import os; os.abort()", False, "ends the process", id="crashes"),
    ],
)
def test_a_package_is_tried_in_a_separate_process(
    source: str, *, usable: bool, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tried_package.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = packages.read_package("tried_package")
    assert found.usable is usable
    assert says in found.problem


def test_a_package_that_is_absent_has_no_version() -> None:
    assert packages.read_package("surely_absent") == Package("surely_absent")


@pytest.mark.parametrize(
    ("build", "gui"),
    [
        pytest.param(
            "  GUI:                 QT5\n    QT:  YES (ver 5.15)\n\n", "QT5", id="a wheel"
        ),
        pytest.param("  GUI: \n    QT:   NO\n    GTK+:  YES (ver 3.24)\n\n", "GTK+", id="Ubuntu"),
        pytest.param("  GUI:                 NONE\n    GTK+:  NO\n\n", "", id="headless"),
        pytest.param("  Media I/O:\n\n", "", id="no such part"),
    ],
)
def test_the_window_system_is_read_from_the_build(
    build: str, gui: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cv2.getBuildInformation", lambda: build)
    assert camera.read_opencv().gui == gui


def test_an_opencv_that_does_not_load_has_one_line_and_a_command() -> None:
    broken = OpenCv("", (), "", display=False, problem="OpenCV does not load (libxcb.so.1).")
    (feature,) = camera_features(broken, [CAMERA], BACK_ENDS)
    assert feature.missing == "OpenCV" and feature.fix.endswith("install opencv-python-headless")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ('{"url": "file:///opt/edge%20ad", "dir_info": {}}', "'/opt/edge ad[onnxruntime]'"),
        ('{"url": "https://host/edge_ad.whl"}', "'edge-ad[onnxruntime]'"),
        (None, "'edge-ad[onnxruntime]'"),
    ],
)
def test_edge_ad_is_installed_again_from_where_it_came(
    origin: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = SimpleNamespace(read_text=lambda name: origin)
    monkeypatch.setattr("edge_ad.machine.features.distribution", lambda name: installed)
    assert own_requirement("onnxruntime") == expected
    _, fix = of_camera(OpenCv("4.12.0", ("V4L2",), "", display=True), [])["CSI cameras"]
    assert f".venv/bin/pip install {expected} " in fix
