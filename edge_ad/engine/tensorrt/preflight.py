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
    BuildOptions,
    BuildRecord,
    Machine,
    NoGpu,
    TargetGpu,
    build_command,
    differences,
    options_for,
)


@dataclass(frozen=True, slots=True)
class CheckedPlan:
    """A plan that fits this machine: what it expects, how it was built, who loads it."""

    path: Path
    sha256: str
    manifest: Manifest
    build: BuildRecord
    gpu: TargetGpu
    trt: TensorRT


def check_plan(path: Path, *, trust_host_code: bool = False) -> CheckedPlan:
    """Check a plan against its sidecar and this machine.

    Raises IncompatibleError that names everything that differs and the command that mends it.
    """
    sidecar = read_plan_sidecar(path)
    manifest, build = sidecar.manifest, sidecar.build
    assert manifest is not None and build is not None
    trt = _load(path, build)
    gpu = gpu_here()
    check(path, build, Machine(build.runtime, trt.__version__, gpu))
    assert isinstance(gpu, TargetGpu), "check refuses a machine without one"
    if build.options.version_compatible and not trust_host_code:
        raise IncompatibleError(
            f"{path} is version-compatible: it carries program code that TensorRT would run in "
            "this process. If you trust who built it, add --trust-host-code."
        )
    return CheckedPlan(path, sidecar.engine_sha256, manifest, build, gpu, trt)


def read_plan_sidecar(path: Path) -> Sidecar:
    """A plan's sidecar, with manifest and build record. Raises IncompatibleError without one."""
    sidecar = load_sidecar(path)
    if sidecar is None or sidecar.manifest is None or sidecar.build is None:
        line = build_command(path.with_suffix(".onnx"), path, BuildOptions())
        raise IncompatibleError(
            f"{path}: there is no {sidecar_path(path).name} that says what the plan expects and "
            f"where it runs. Copy it from where the plan was built, or build anew with: {line}"
        )
    return sidecar


def check(path: Path, build: BuildRecord, machine: Machine) -> None:
    """Raise IncompatibleError when a plan so built does not run on this machine."""
    if found := differences(build, machine):
        raise IncompatibleError(
            f"{path} does not run here: {'; '.join(found)}. {_mend(path, build, machine)}"
        )


def _mend(path: Path, build: BuildRecord, machine: Machine) -> str:
    """The command that makes the plan fit; where there is no card, none does."""
    onnx = path.with_name(build.onnx)
    if isinstance(machine.gpu, NoGpu):
        return (
            f"Plans run on NVIDIA cards alone: a machine without a GPU runs {build.onnx} instead, "
            "the file it was built from. Is there a card? See: edge-ad doctor"
        )
    return f"Mend: {build_command(onnx, path, options_for(build, machine), machine.runtime)}"


def gpu_here() -> TargetGpu | NoGpu:
    """The card that is used: the first that CUDA_VISIBLE_DEVICES shows. Or why there is none."""
    gpus = read_gpus()
    if not gpus.cards:
        return NoGpu(gpus.fault or "the driver shows no card")
    card = gpus.cards[0]
    return TargetGpu(card.name, card.compute_capability, gpus.cuda, gpus.driver, card.memory_mib)


def _load(path: Path, build: BuildRecord) -> TensorRT:
    """The runtime that built the plan; when it cannot be had, say what else is here."""
    try:
        return load(build.runtime)
    except IncompatibleError as error:
        others = {runtime: version for runtime, version in installed().items()}
        for runtime, version in others.items():
            line = build_command(path.with_name(build.onnx), path, build.options, runtime)
            raise IncompatibleError(
                f"{path} was built by {NAMES[build.runtime]} {build.version}, and here is "
                f"{NAMES[runtime]} {version}: {error} Or build for what is here: {line}"
            ) from error
        raise
