"""`edge-ad doctor`: what a bug report needs, and what to install."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

import edge_ad
from edge_ad.cli.options import emit, shared

if TYPE_CHECKING:
    from edge_ad.machine.camera import OpenCv, VideoDevice
    from edge_ad.machine.features import Feature
    from edge_ad.machine.gpu import Gpus
    from edge_ad.machine.host import Host, Jetson
    from edge_ad.machine.packages import Package

_ACCELERATORS = ("tensorrt", "tensorrt_rtx", "pycuda")


@dataclass(frozen=True)
class _Findings:
    """Everything doctor says, in the order it is said."""

    edge_ad: str
    host: Host
    jetson: Jetson | None
    opencv: OpenCv
    cameras: list[VideoDevice]
    engines: list[Package]
    gpus: Gpus
    features: list[Feature]


@click.command()
@shared
def command(*, as_json: bool) -> None:
    """Print what this machine has, and for each feature what is missing and how to install it."""
    findings = _examine()
    if as_json:
        return emit({"type": "doctor", **asdict(findings)})
    for line in _lines(findings):
        click.echo(line)


def _examine() -> _Findings:
    from edge_ad.machine import camera, gpu, host, packages

    found = [packages.read_package(name) for name in ("onnxruntime", *_ACCELERATORS)]
    opencv, cameras = camera.read_opencv(), camera.read_cameras()
    gpus, jetson = gpu.read_gpus(), host.read_jetson()
    return _Findings(
        edge_ad=edge_ad.__version__,
        host=host.read_host(),
        jetson=jetson,
        opencv=opencv,
        cameras=cameras,
        engines=found,
        gpus=gpus,
        features=list(_features(opencv, cameras, gpus, jetson, found[1:])),
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

    yield from extra_features({extra: missing_for(extra) for extra in extras()})
    yield from camera_features(opencv, cameras)
    yield from gpu_features(gpus, jetson, accelerators)


def _lines(found: _Findings) -> Iterator[str]:
    host, opencv = found.host, found.opencv
    yield _row("edge-ad", found.edge_ad)
    yield _row("machine", f"{host.processor}, {host.cores} cores, {host.memory_mib} MiB")
    yield _row("system", f"{host.system}, Python {host.python}" + _environment(host))
    if found.jetson:
        jetson = found.jetson
        yield _row("Jetson", f"{jetson.model}, L4T {jetson.l4t}, JetPack {jetson.jetpack}")
    yield _row("OpenCV", f"{opencv.version}, {', '.join(opencv.back_ends)}, {_gui(opencv)}")
    for camera in found.cameras:
        yield _row("camera", f"{camera.device} {camera.name}")
    for package in found.engines:
        yield _row(package.name, _told(package))
    for card in found.gpus.cards:
        yield _row("GPU", f"{card.name}, compute {card.compute_capability}, {card.memory_mib} MiB")
    yield _row("driver", _driver(found.gpus))
    yield ""
    for feature in found.features:
        yield from _advice(feature)


def _advice(feature: Feature) -> Iterator[str]:
    if not feature.lacks:
        yield f"  ready    {feature.name}"
        return
    yield f"  missing  {feature.name}: lacks {feature.lacks}"
    if feature.mend:
        yield f"             {feature.mend}"


def _row(name: str, value: Any) -> str:
    return f"{name:<13}{value}"


def _environment(host: Host) -> str:
    return " in a virtual environment" if host.virtual_environment else ""


def _gui(opencv: OpenCv) -> str:
    return f"windows by {opencv.gui}" if opencv.gui else "no windows"


def _told(package: Package) -> str:
    if not package.version:
        return "not installed"
    if package.fault:
        return f"{package.version}, but it does not load: {package.fault}"
    return ", ".join(filter(None, (package.version, package.details)))


def _driver(gpus: Gpus) -> str:
    if gpus.fault and not gpus.driver:
        return gpus.fault
    parts = [gpus.driver, gpus.cuda and f"CUDA up to {gpus.cuda}", gpus.fault]
    return ", ".join(filter(None, parts)) or "unknown"
