"""Whether a plan may be loaded here, asked of its sidecar before TensorRT sees the plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_ad.engine.tensorrt.runtimes import TensorRT, installed, load
from edge_ad.errors import IncompatibleError
from edge_ad.machine.gpu import read_gpus
from edge_ad.manifest import Manifest, Sidecar, load_sidecar, sidecar_path
from edge_ad.plan_record import (
    NAMES,
    Build,
    Gpu,
    Machine,
    NoGpu,
    Options,
    build_line,
    differences,
    options_for,
)


@dataclass(frozen=True, slots=True)
class Cleared:
    """A plan that fits this machine: what it expects, how it was built, who loads it."""

    path: Path
    sha256: str
    manifest: Manifest
    build: Build
    gpu: Gpu
    trt: TensorRT


def clear(path: Path, *, trust_host_code: bool = False) -> Cleared:
    """Check a plan against its sidecar and this machine.

    Raises IncompatibleError that names everything that differs and the command that mends it.
    """
    sidecar = read_plan_sidecar(path)
    manifest, build = sidecar.manifest, sidecar.build
    assert manifest is not None and build is not None
    trt = _load(path, build)
    gpu = gpu_here()
    check(path, build, Machine(build.flavour, trt.__version__, gpu))
    assert isinstance(gpu, Gpu), "check refuses a machine without one"
    if build.options.version_compatible and not trust_host_code:
        raise IncompatibleError(
            f"{path} is version-compatible: it carries program code that TensorRT would run in "
            "this process. If you trust who built it, add --trust-host-code."
        )
    return Cleared(path, sidecar.engine_sha256, manifest, build, gpu, trt)


def read_plan_sidecar(path: Path) -> Sidecar:
    """A plan's sidecar, with manifest and build record. Raises IncompatibleError without one."""
    sidecar = load_sidecar(path)
    if sidecar is None or sidecar.manifest is None or sidecar.build is None:
        line = build_line(path.with_suffix(".onnx"), path, Options())
        raise IncompatibleError(
            f"{path}: there is no {sidecar_path(path).name} that says what the plan expects and "
            f"where it runs. Copy it from where the plan was built, or build anew with: {line}"
        )
    return sidecar


def check(path: Path, build: Build, machine: Machine) -> None:
    """Raise IncompatibleError when a plan so built does not run on this machine."""
    if found := differences(build, machine):
        raise IncompatibleError(
            f"{path} does not run here: {'; '.join(found)}. {_mend(path, build, machine)}"
        )


def _mend(path: Path, build: Build, machine: Machine) -> str:
    """The command that makes the plan fit; where there is no card, none does."""
    onnx = path.with_name(build.onnx)
    if isinstance(machine.gpu, NoGpu):
        return (
            f"Plans run on NVIDIA cards alone: a machine without a GPU runs {build.onnx} instead, "
            "the file it was built from. Is there a card? See: edge-ad doctor"
        )
    return f"Mend: {build_line(onnx, path, options_for(build, machine), machine.flavour)}"


def gpu_here() -> Gpu | NoGpu:
    """The card that is used: the first that CUDA_VISIBLE_DEVICES shows. Or why there is none."""
    gpus = read_gpus()
    if not gpus.cards:
        return NoGpu(gpus.fault or "the driver shows no card")
    card = gpus.cards[0]
    return Gpu(card.name, card.compute_capability, gpus.cuda, gpus.driver, card.memory_mib)


def _load(path: Path, build: Build) -> TensorRT:
    """The flavour that built the plan; when it cannot be had, say what else is here."""
    try:
        return load(build.flavour)
    except IncompatibleError as error:
        others = {flavour: version for flavour, version in installed().items()}
        for flavour, version in others.items():
            line = build_line(path.with_name(build.onnx), path, build.options, flavour)
            raise IncompatibleError(
                f"{path} was built by {NAMES[build.flavour]} {build.version}, and here is "
                f"{NAMES[flavour]} {version}: {error} Or build for what is here: {line}"
            ) from error
        raise
