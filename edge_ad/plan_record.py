"""Record how a plan was built, and compare that with a machine before the plan is loaded.

TensorRT has no call that tells whether a plan will load, so this comparison is the preflight. Its
errors give the `edge-ad build` command that rebuilds the plan for the machine at hand.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from edge_ad.stored import Stored

Runtime = Literal["tensorrt", "tensorrt-rtx"]
Reach = Literal["ampere-plus", "same-compute-capability"]
Capability = Annotated[str, Meta(pattern=r"^\d+\.\d\Z")]
Count = Annotated[int, Meta(ge=1)]

NAMES: dict[Runtime, str] = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}

# Versions that build no plan, or wrong ones. 10.2.0: ultralytics pull request 24367.
DENIED: dict[tuple[Runtime, str], str] = {
    ("tensorrt", "10.2.0"): "its packages look for a builder library of another operating system "
    "(libnvinfer_builder_resource_win.so.10.2.0), so that engines fail to build",
}


class BuildOptions(Stored, frozen=True, kw_only=True):
    """Options of a build; None leaves the choice to TensorRT.

    `batch` is (least, usual, most) images a call; `compute_capabilities` are TensorRT-RTX's
    targets; `hardware_compatible` is the range of GPUs that a TensorRT plan may run on;
    `tf32` lets fp32 layers multiply with 10 bits in place of 23.
    """

    batch: tuple[Count, Count, Count] | None = None
    workspace_mib: Count | None = None
    optimization_level: Annotated[int, Meta(ge=0, le=5)] | None = None
    tf32: bool = False
    version_compatible: bool = False
    hardware_compatible: Reach | None = None
    dla_core: Annotated[int, Meta(ge=0)] | None = None
    compute_capabilities: tuple[Capability, ...] = ()


class BuildRecord(Stored, frozen=True, kw_only=True):
    """The record of one build; fields that the building machine could not determine are empty.

    `compute_capability` and `gpu` are the building GPU's, `cuda` is the newest CUDA version
    of its driver, `jetpack` the Jetson's Linux release.
    """

    runtime: Runtime
    version: str
    onnx: str
    onnx_sha256: str
    plan_bytes: Count
    options: BuildOptions = BuildOptions()
    gpu: str = ""
    compute_capability: Annotated[str, Meta(pattern=r"^(\d+\.\d)?\Z")] = ""
    cuda: str = ""
    driver: str = ""
    jetpack: str = ""
    edge_ad: str = ""
    created_utc: str = ""


@dataclass(frozen=True, slots=True)
class TargetGpu:
    """A GPU as its driver describes it; `cuda` is the newest CUDA version the driver supports."""

    name: str
    compute_capability: str
    cuda: str
    driver: str
    memory_mib: int


@dataclass(frozen=True, slots=True)
class NoGpu:
    """The reason why there is no GPU to use."""

    reason: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A runtime of TensorRT with its version, and the GPU or the reason why there is none."""

    runtime: Runtime
    version: str
    gpu: TargetGpu | NoGpu


def denied(runtime: Runtime, version: str) -> str:
    """Return why this version must not be used, or an empty string."""
    return DENIED.get((runtime, version), "")


def differences(build: BuildRecord, machine: Machine) -> list[str]:
    """Return the reasons why a plan cannot run here, one clause each; empty when it can."""
    clauses = [_runtime(build, machine), _version(build, machine)]
    if isinstance(machine.gpu, NoGpu):
        clauses.append(f"there is no GPU to run it ({machine.gpu.reason})")
    else:
        clauses += [_capability(build, machine.gpu), _driver(build, machine.gpu)]
    return [clause for clause in clauses if clause]


def options_for(build: BuildRecord, machine: Machine) -> BuildOptions:
    """Return the options a plan was built with, without those that exclude this machine's GPU."""
    options = build.options
    if isinstance(machine.gpu, NoGpu):
        return options
    here = machine.gpu.compute_capability
    is_old = numbers(here) < (8, 0)
    changed: dict[str, object] = {}
    if machine.runtime == "tensorrt-rtx" and (is_old or here not in options.compute_capabilities):
        changed["compute_capabilities"] = (here,) if is_old else ()
    if options.hardware_compatible == "ampere-plus" and is_old:
        changed["hardware_compatible"] = None
    return options.replace(**changed)


def build_command(
    onnx: Path, plan: Path, options: BuildOptions, runtime: Runtime | None = None
) -> str:
    """Return the `edge-ad build` command with the options that `runtime` supports."""
    words = ["edge-ad", "build", str(onnx), "-o", str(plan)]
    words += ["--runtime", runtime] if runtime else []
    words += _option("--batch", options.batch and ":".join(str(n) for n in options.batch))
    words += _option("--workspace-mib", options.workspace_mib)
    words += _option("--optimization-level", options.optimization_level)
    words += ["--tf32"] if options.tf32 else []
    if runtime != "tensorrt-rtx":
        words += ["--version-compatible"] if options.version_compatible else []
        words += _option("--hardware-compatible", options.hardware_compatible)
        words += _option("--dla", options.dla_core)
    if runtime != "tensorrt":
        for capability in options.compute_capabilities:
            words += ["--compute-capability", capability]
    return shlex.join(words)


def numbers(version: str) -> tuple[int, ...]:
    """Convert '10.3.0' to (10, 3, 0), for comparing versions."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _option(flag: str, value: object) -> list[str]:
    return [] if value is None else [flag, str(value)]


def _runtime(build: BuildRecord, machine: Machine) -> str:
    if build.runtime == machine.runtime:
        return ""
    return f"it was built by {NAMES[build.runtime]}, here is {NAMES[machine.runtime]}"


def _version(build: BuildRecord, machine: Machine) -> str:
    """Compare versions: plans load in the one that built them, compatible ones in newer ones too.

    The documented limit is one major version further.
    """
    if build.runtime != machine.runtime or build.version == machine.version:
        return ""
    name = NAMES[build.runtime]
    if not build.options.version_compatible:
        return f"it was built by {name} {build.version}, here is {machine.version}"
    built, here = numbers(build.version), numbers(machine.version)
    if here >= built and here[0] - built[0] <= 1:
        return ""
    return (
        f"it was built by {name} {build.version}, and even version-compatible plans do not load "
        f"in {machine.version}"
    )


def _capability(build: BuildRecord, gpu: TargetGpu) -> str:
    here = f"here is an {gpu.name} with {gpu.compute_capability}"
    if targets := build.options.compute_capabilities:
        fits = gpu.compute_capability in targets
        return "" if fits else f"it was built for compute capability {', '.join(targets)}, {here}"
    if build.runtime == "tensorrt-rtx" or build.options.hardware_compatible == "ampere-plus":
        fits = numbers(gpu.compute_capability) >= (8, 0)
        return "" if fits else f"it needs compute capability 8.0 or later, {here}"
    if build.compute_capability in ("", gpu.compute_capability):
        return ""
    built = f"compute capability {build.compute_capability} ({build.gpu})"
    return f"it was built for {built}, {here}"


def _driver(build: BuildRecord, gpu: TargetGpu) -> str:
    """Compare drivers: the plan's kernels may need features that an older driver lacks.

    TensorRT-RTX compiles its kernels at load time, so the building driver does not matter.
    """
    if build.runtime == "tensorrt-rtx" or not build.cuda:
        return ""
    if numbers(gpu.cuda) >= numbers(build.cuda):
        return ""
    return (
        f"it was built under driver {build.driver or '(unknown)'} for CUDA {build.cuda}, here is "
        f"{gpu.driver or '(unknown)'} for CUDA {gpu.cuda}: update the driver, or rebuild"
    )
