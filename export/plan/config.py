"""Apply a user's options to TensorRT's builder configuration; an unsupported one is an error.

TensorRT-RTX accepts several calls and ignores them, so its limits are checked here: hardware and
version compatibility (its engines run on every GPU from compute capability 8.0, in the exact
version that built them) and timing caches (nothing is timed before the engine is loaded).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from edge_ad.engine.base import INPUT, default_profile
from edge_ad.engine.tensorrt.runtimes import TensorRT
from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.export.plan.source import OnnxSource
from edge_ad.files import write_bytes
from edge_ad.plan_record import NAMES, BuildOptions, BuildRecord, Runtime

_log = logging.getLogger(__name__)


def configure(
    trt: TensorRT, builder: Any, source: OnnxSource, runtime: Runtime, options: BuildOptions
) -> Any:
    """Return a builder configuration; raises UsageError for options that are not supported here."""
    _refuse_ignored_by_rtx(runtime, options)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # layers keep names and precision
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if not options.tf32:  # TensorRT's default, but fp32 in the file must mean fp32
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    _set_hardware_compatibility(trt, config, options)
    _place_on_dla(trt, builder, config, options)
    _set_target_gpus(trt, config, runtime, options)
    if batch := batch_profile(source, options):
        _add_profile(builder, config, source, batch)
    return config


def batch_profile(source: OnnxSource, options: BuildOptions) -> tuple[int, int, int] | None:
    """Return the least, usual and most images a call; None for a graph of fixed batch.

    By default the usual number is the number of a frame's tiles.
    """
    manifest = source.manifest
    if manifest.batch is not None:
        if options.batch and options.batch != (manifest.batch,) * 3:
            raise UsageError(
                f"{source.path} takes {manifest.batch} images a call, so --batch cannot change it. "
                "Export it with --dynamic-batch."
            )
        return None
    return options.batch or default_profile(manifest)


class TimingCache:
    """TensorRT's kernel timings, kept in a file for the next build.

    They are valid for one version and one GPU. A folder instead of a file keeps one file for each.
    """

    def __init__(self, path: Path, config: Any, build: BuildRecord) -> None:
        if build.runtime == "tensorrt-rtx":
            raise UsageError(
                "TensorRT-RTX times nothing when it builds, so --timing-cache has no effect. "
                "Leave it out; kernels compiled at load time are cached without it."
            )
        self.path = path / _cache_name(build) if path.is_dir() else path
        self._config = config
        if not config.set_timing_cache(self._load(), ignore_mismatch=False):
            raise IncompatibleError(
                f"{self.path}: a timing cache of another GPU or version, expected one of "
                f"{_cache_name(build).removesuffix('.timingcache')}. "
                "Give another file, or a folder, which keeps one file for each."
            )

    def save(self) -> None:
        """Write the timings back to the file; log why not, since the plan took minutes."""
        try:
            write_bytes(self.path, bytes(self._config.get_timing_cache().serialize()))
        except OSError as error:
            _log.warning(
                "%s: the timings cannot be kept (%s), so the next build measures again",
                self.path, error.strerror or error,
            )  # fmt: skip

    def _load(self) -> Any:
        data = self.path.read_bytes() if self.path.exists() else b""
        cache = self._config.create_timing_cache(data)
        if cache is None:
            raise IncompatibleError(f"{self.path} is not a timing cache. Give another file.")
        return cache


def _cache_name(build: BuildRecord) -> str:
    gpu = "-".join(build.gpu.lower().split()) or "unknown-gpu"
    return f"{build.runtime}-{build.version}-{gpu}-sm{build.compute_capability}.timingcache"


def _refuse_ignored_by_rtx(runtime: Runtime, options: BuildOptions) -> None:
    if runtime != "tensorrt-rtx":
        return
    name = NAMES[runtime]
    if options.version_compatible:
        raise UsageError(f"{name} has no version-compatible plans; rebuild after each update.")
    if options.hardware_compatible:
        raise UsageError(
            f"{name} plans run on every GPU from compute capability 8.0 without "
            "--hardware-compatible; leave it out, or choose GPUs with --compute-capability."
        )
    if options.dla_core is not None:
        raise UsageError(f"{name} does not support DLA cores; use --runtime tensorrt on a Jetson.")


def _set_hardware_compatibility(trt: TensorRT, config: Any, options: BuildOptions) -> None:
    """Allow the plan to run on other GPUs than the building one."""
    if options.hardware_compatible is None:
        return
    name = options.hardware_compatible.replace("-", "_").upper()
    level = getattr(getattr(trt, "HardwareCompatibilityLevel", None), name, None)
    if level is None:
        raise UsageError(
            f"TensorRT {trt.__version__} cannot build for {options.hardware_compatible} GPUs."
        )
    config.hardware_compatibility_level = level


def _place_on_dla(trt: TensorRT, builder: Any, config: Any, options: BuildOptions) -> None:
    """Run supported layers on a DLA core, the rest on the GPU."""
    if options.dla_core is None:
        return
    cores = getattr(builder, "num_DLA_cores", 0)
    if options.dla_core >= cores or not hasattr(config, "DLA_core"):
        raise UsageError(
            f"--dla {options.dla_core}: TensorRT {trt.__version__} offers {cores} DLA cores here. "
            "Leave the option out to build for the GPU."
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = options.dla_core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _set_target_gpus(trt: TensorRT, config: Any, runtime: Runtime, options: BuildOptions) -> None:
    """Set the GPUs that TensorRT-RTX builds for, by compute capability."""
    capabilities = options.compute_capabilities
    if not capabilities:
        return
    if runtime != "tensorrt-rtx" or not hasattr(config, "set_compute_capability"):
        raise UsageError(
            f"{NAMES[runtime]} builds for the GPU it runs on, so --compute-capability has no "
            "effect; see --hardware-compatible."
        )
    known = {
        f"{name[2:-1]}.{name[-1]}": value
        for name, value in vars(trt.ComputeCapability).items()
        if name.startswith("SM")
    }
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        if capability not in known:
            raise UsageError(
                f"--compute-capability {capability}: {NAMES[runtime]} {trt.__version__} supports "
                f"{', '.join(sorted(known, key=float))}."
            )
        config.set_compute_capability(known[capability], index)


def _add_profile(
    builder: Any, config: Any, source: OnnxSource, batch: tuple[int, int, int]
) -> None:
    least, usual, most = ((count, *source.manifest.size_hw, 3) for count in batch)
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, least, usual, most)
    if config.add_optimization_profile(profile) < 0:
        raise IncompatibleError(f"{source.path}: TensorRT refuses the batch sizes {batch}.")
