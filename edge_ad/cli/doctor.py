"""`edge-ad doctor`: describe the machine for a bug report, and list what to install."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

import edge_ad
from edge_ad.cli.options import emit, shared
from edge_ad.errors import IncompatibleError

if TYPE_CHECKING:
    from edge_ad.machine.camera import OpenCv, VideoDevice
    from edge_ad.machine.features import Feature
    from edge_ad.machine.gpu import Gpus
    from edge_ad.machine.host import Host, Jetson
    from edge_ad.machine.packages import Package

_ACCELERATORS = ("tensorrt", "tensorrt_rtx", "pycuda")


@dataclass(frozen=True)
class _Report:
    """Everything that doctor prints, in the order of its lines."""

    edge_ad: str
    host: Host
    jetson: Jetson | None
    power_mode: str
    opencv: OpenCv
    cameras: list[VideoDevice]
    engines: list[Package]
    gpus: Gpus
    features: list[Feature]


@click.command()
@click.option("--fix", is_flag=True, help="Print one shell script that installs what is missing.")
@shared
def command(*, fix: bool, as_json: bool) -> None:
    """Print what this machine has, and for each feature what is missing and how to install it.

    With --fix, the same as one script: read it, delete what you do not need, and run it with sh.
    """
    report = _examine()
    if fix:
        from edge_ad.machine.fix_script import fix_script

        script = fix_script(report.features)
        return emit({"type": "fix", "script": script}) if as_json else click.echo(script, nl=False)
    if as_json:
        return emit({"type": "doctor", **asdict(report)})
    for line in _format_lines(report):
        click.echo(line)


def _examine() -> _Report:
    from edge_ad.machine import camera, clocks, gpu, host, packages

    engines = [packages.read_package(name) for name in ("onnxruntime", *_ACCELERATORS)]
    opencv, cameras = camera.read_opencv(), camera.read_cameras()
    gpus, jetson = gpu.read_gpus(), host.read_jetson()
    return _Report(
        edge_ad=edge_ad.__version__,
        host=host.read_host(),
        jetson=jetson,
        power_mode=clocks.read_power_mode(),
        opencv=opencv,
        cameras=cameras,
        engines=engines,
        gpus=gpus,
        features=list(_features(opencv, cameras, gpus, jetson, engines[1:])),
    )


def _features(
    opencv: OpenCv,
    cameras: list[VideoDevice],
    gpus: Gpus,
    jetson: Jetson | None,
    accelerators: list[Package],
) -> Iterator[Feature]:
    from edge_ad.machine.features import camera_features, extra_features, gpu_features
    from edge_ad.machine.packages import extras, missing_for
    from edge_ad.source.registry import CAMERAS

    yield from extra_features({extra: missing_for(extra) for extra in extras()})
    back_ends = {kind.name: kind.back_end for kind in CAMERAS if kind.back_end}
    yield from camera_features(opencv, cameras, back_ends)
    yield from gpu_features(gpus, jetson, accelerators)
    if not opencv.problem:  # which the registries need
        yield from _installed_features()


def _installed_features() -> Iterator[Feature]:
    """Yield every kind of camera and outlet that another installed package brings."""
    from edge_ad.installed import installed_names
    from edge_ad.machine.features import Feature
    from edge_ad.outlet.registry import GROUP as OUTLETS
    from edge_ad.outlet.registry import outlet_kind
    from edge_ad.source.registry import GROUP as CAMERAS
    from edge_ad.source.registry import camera_kind

    for group, noun, find in ((CAMERAS, "camera", camera_kind), (OUTLETS, "outlet", outlet_kind)):
        for scheme in installed_names(group):
            try:
                kind = find(scheme)
                assert kind is not None
                kind.load_opener()
            except IncompatibleError as error:
                yield Feature(f"{noun} {scheme}://", "a package that can be imported", str(error))
            else:
                yield Feature(f"{noun} {scheme}:// ({kind.description})")


def _format_lines(report: _Report) -> Iterator[str]:
    host, opencv = report.host, report.opencv
    yield _row("edge-ad", report.edge_ad)
    yield _row("machine", _format_machine(host))
    yield _row("system", f"{host.system}, Python {host.python}" + _format_environment(host))
    if report.jetson:
        jetson = report.jetson
        mode = f", power mode {report.power_mode}" if report.power_mode else ""
        yield _row("Jetson", f"{jetson.model}, L4T {jetson.l4t}, JetPack {jetson.jetpack}{mode}")
    yield _row("OpenCV", _format_opencv(opencv))
    for camera in report.cameras:
        yield _row("camera", f"{camera.device} {camera.name}")
    for package in report.engines:
        yield _row(package.name, _format_package(package))
    for gpu in report.gpus.devices:
        yield _row("GPU", f"{gpu.name}, compute {gpu.compute_capability}, {gpu.memory_mib} MiB")
    yield _row("driver", _format_driver(report.gpus))
    yield ""
    for feature in report.features:
        yield from _format_feature(feature)


def _format_feature(feature: Feature) -> Iterator[str]:
    if not feature.missing:
        yield f"  ready    {feature.name}"
        return
    yield f"  missing  {feature.name}: needs {feature.missing}"
    if feature.fix:
        yield f"             {feature.fix}"


def _row(name: str, value: str) -> str:
    return f"{name:<13}{value}"


def _format_machine(host: Host) -> str:
    slow = "" if host.exact_int8 else ", no VNNI: int8 is slower than elsewhere"
    return f"{host.processor}, {host.cores} cores, {host.memory_mib} MiB{slow}"


def _format_environment(host: Host) -> str:
    return " in a virtual environment" if host.virtual_environment else ""


def _format_opencv(opencv: OpenCv) -> str:
    if opencv.problem:
        return opencv.problem
    return f"{opencv.version}, {', '.join(opencv.back_ends)}, {_format_gui(opencv)}"


def _format_gui(opencv: OpenCv) -> str:
    return f"windows by {opencv.gui}" if opencv.gui else "no windows"


def _format_package(package: Package) -> str:
    if not package.version:
        return "not installed"
    if package.problem:
        return f"{package.version}, but it does not load: {package.problem}"
    return ", ".join(filter(None, (package.version, package.details)))


def _format_driver(gpus: Gpus) -> str:
    if gpus.problem and not gpus.driver:
        return gpus.problem
    parts = [gpus.driver, gpus.cuda and f"CUDA up to {gpus.cuda}", gpus.problem]
    return ", ".join(filter(None, parts)) or "unknown"
