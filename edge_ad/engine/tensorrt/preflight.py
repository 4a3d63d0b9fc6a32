"""Check from its sidecar that a plan fits this machine, before TensorRT loads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_ad.engine.tensorrt.runtimes import TensorRT, installed, load
from edge_ad.errors import IncompatibleError
from edge_ad.machine.gpu import read_gpus
from edge_ad.manifest import Manifest, Sidecar
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
from edge_ad.sidecar import load_sidecar, sidecar_path


@dataclass(frozen=True, slots=True)
class CheckedPlan:
    """A plan that fits this machine, with its manifest, build record, GPU and runtime."""

    path: Path
    sha256: str
    manifest: Manifest
    build: BuildRecord
    gpu: TargetGpu
    trt: TensorRT


def check_plan(path: Path, *, trust_host_code: bool = False) -> CheckedPlan:
    """Check a plan against its sidecar and this machine.

    Raises IncompatibleError with every difference and the command that fixes it.
    """
    sidecar = read_plan_sidecar(path)
    manifest, build = sidecar.manifest, sidecar.build
    assert manifest is not None and build is not None
    trt = _load(path, build)
    gpu = gpu_here()
    check(path, build, Machine(build.runtime, trt.__version__, gpu))
    assert isinstance(gpu, TargetGpu), "check raises on a machine without one"
    if build.options.version_compatible and not trust_host_code:
        raise IncompatibleError(
            f"{path} is version-compatible: it carries program code that TensorRT would run in "
            "this process. If you trust who built it, add --trust-host-code."
        )
    return CheckedPlan(path, sidecar.engine_sha256, manifest, build, gpu, trt)


def read_plan_sidecar(path: Path) -> Sidecar:
    """Return a plan's sidecar. Raises IncompatibleError without a manifest and a build record."""
    sidecar = load_sidecar(path)
    if sidecar is None or sidecar.manifest is None or sidecar.build is None:
        command = build_command(path.with_suffix(".onnx"), path, BuildOptions())
        raise IncompatibleError(
            f"{path}: its sidecar {sidecar_path(path).name} is missing or incomplete, so it is not "
            "known what the plan expects and where it runs. Copy the sidecar from where the plan "
            f"was built, or build the plan again with: {command}"
        )
    return sidecar


def check(path: Path, build: BuildRecord, machine: Machine) -> None:
    """Raise IncompatibleError when a plan built this way does not run on this machine."""
    if clauses := differences(build, machine):
        raise IncompatibleError(
            f"{path} does not run here: {'; '.join(clauses)}. {_fix(path, build, machine)}"
        )


def _fix(path: Path, build: BuildRecord, machine: Machine) -> str:
    """Return the command that builds a plan for this machine, or advice where there is no GPU."""
    onnx = path.with_name(build.onnx)
    if isinstance(machine.gpu, NoGpu):
        return (
            f"Plans run on NVIDIA GPUs only; on other machines run {build.onnx}, the file it was "
            "built from. If this machine has a GPU, see: edge-ad doctor"
        )
    command = build_command(onnx, path, options_for(build, machine), machine.runtime)
    return f"Build it for this machine with: {command}"


def gpu_here() -> TargetGpu | NoGpu:
    """Return the GPU in use, the first in CUDA_VISIBLE_DEVICES, or the reason why there is none."""
    gpus = read_gpus()
    if not gpus.devices:
        return NoGpu(gpus.problem or "the driver shows no GPU")
    first = gpus.devices[0]
    return TargetGpu(first.name, first.compute_capability, gpus.cuda, gpus.driver, first.memory_mib)


def _load(path: Path, build: BuildRecord) -> TensorRT:
    """Load the runtime that built the plan. Raises IncompatibleError that names other runtimes."""
    try:
        return load(build.runtime)
    except IncompatibleError as error:
        for runtime, version in installed().items():
            command = build_command(path.with_name(build.onnx), path, build.options, runtime)
            raise IncompatibleError(
                f"{path} was built by {NAMES[build.runtime]} {build.version}, and this machine "
                f"has {NAMES[runtime]} {version}: {error} Or build it for that with: {command}"
            ) from error
        raise
