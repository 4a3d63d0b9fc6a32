"""A user's options as TensorRT's builder configuration; an option that is not there is an error.

TensorRT-RTX accepts several calls and ignores them, so its limits are spelled out here: hardware
and version compatibility (its engines run on every card from compute capability 8.0, in the very
version that built them) and timing caches (nothing is timed before the engine is loaded).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ad.engine.base import DEFAULT_MAX_BATCH, INPUT
from edge_ad.engine.tensorrt.runtimes import TensorRT
from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.export.plan.source import OnnxSource
from edge_ad.files import write_bytes
from edge_ad.plan_record import NAMES, BuildOptions, BuildRecord, Runtime


def configure(
    trt: TensorRT, builder: Any, source: OnnxSource, runtime: Runtime, options: BuildOptions
) -> Any:
    """A builder configuration. Raises UsageError for an option this runtime or version lacks."""
    _refuse_what_rtx_ignores(runtime, options)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # layers keep names and precision
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if not options.tf32:  # TensorRT's default; but fp32 in the file is to mean fp32
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    _reach(trt, config, options)
    _place_on_dla(trt, builder, config, options)
    _target(trt, config, runtime, options)
    if batch := batch_profile(source, options):
        _add_profile(builder, config, source, batch)
    return config


def batch_profile(source: OnnxSource, options: BuildOptions) -> tuple[int, int, int] | None:
    """Least, usual and most images a call; None for a graph of fixed batch.

    Without a wish the usual number is that of a frame's tiles.
    """
    manifest = source.manifest
    if manifest.batch is not None:
        if options.batch and options.batch != (manifest.batch,) * 3:
            raise UsageError(
                f"{source.path} takes {manifest.batch} images a call, so --batch cannot change it. "
                "Export it with --dynamic-batch."
            )
        return None
    usual = manifest.geometry.tile_count
    return options.batch or (1, usual, max(usual, DEFAULT_MAX_BATCH))


class TimingCache:
    """TensorRT's measurements of kernels, kept in a file for the next build.

    They hold for one version and one card. A folder in place of a file name keeps one file each.
    """

    def __init__(self, path: Path, config: Any, build: BuildRecord) -> None:
        if build.runtime == "tensorrt-rtx":
            raise UsageError(
                "TensorRT-RTX times nothing when it builds, so --timing-cache has no use. "
                "Leave it out; what it compiles when it loads is kept by itself."
            )
        self.path = path / _cache_name(build) if path.is_dir() else path
        self._config = config
        if not config.set_timing_cache(self._load(), ignore_mismatch=False):
            raise IncompatibleError(
                f"{self.path}: a timing cache of another card or version, expected one of "
                f"{_cache_name(build).removesuffix('.timingcache')}. "
                "Name another file, or a folder that keeps one for each."
            )

    def save(self) -> None:
        """Write back what the build has measured."""
        write_bytes(self.path, bytes(self._config.get_timing_cache().serialize()))

    def _load(self) -> Any:
        known = self.path.read_bytes() if self.path.exists() else b""
        cache = self._config.create_timing_cache(known)
        if cache is None:
            raise IncompatibleError(f"{self.path} is no timing cache. Name another file.")
        return cache


def _cache_name(build: BuildRecord) -> str:
    card = "-".join(build.gpu.lower().split()) or "unknown-card"
    return f"{build.runtime}-{build.version}-{card}-sm{build.compute_capability}.timingcache"


def _refuse_what_rtx_ignores(runtime: Runtime, options: BuildOptions) -> None:
    if runtime != "tensorrt-rtx":
        return
    name = NAMES[runtime]
    if options.version_compatible:
        raise UsageError(f"{name} has no version-compatible plans: rebuild after each update.")
    if options.hardware_compatible:
        raise UsageError(
            f"{name} plans run on every card from compute capability 8.0 without "
            "--hardware-compatible; leave it out, or name cards with --compute-capability."
        )
    if options.dla_core is not None:
        raise UsageError(f"{name} does not drive DLA cores; use --runtime tensorrt on a Jetson.")


def _reach(trt: TensorRT, config: Any, options: BuildOptions) -> None:
    """How far from the building card the plan may travel."""
    if options.hardware_compatible is None:
        return
    name = options.hardware_compatible.replace("-", "_").upper()
    level = getattr(getattr(trt, "HardwareCompatibilityLevel", None), name, None)
    if level is None:
        raise UsageError(
            f"TensorRT {trt.__version__} cannot build for {options.hardware_compatible} cards."
        )
    config.hardware_compatibility_level = level


def _place_on_dla(trt: TensorRT, builder: Any, config: Any, options: BuildOptions) -> None:
    """Run what a DLA core can on it, the rest on the GPU."""
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


def _target(trt: TensorRT, config: Any, runtime: Runtime, options: BuildOptions) -> None:
    """TensorRT-RTX's target cards, by compute capability."""
    wanted = options.compute_capabilities
    if not wanted:
        return
    if runtime != "tensorrt-rtx" or not hasattr(config, "set_compute_capability"):
        raise UsageError(
            f"{NAMES[runtime]} builds for the card it runs on, so --compute-capability has no use; "
            "see --hardware-compatible."
        )
    known = {
        f"{name[2:-1]}.{name[-1]}": value
        for name, value in vars(trt.ComputeCapability).items()
        if name.startswith("SM")
    }
    config.num_compute_capabilities = len(wanted)
    for index, capability in enumerate(wanted):
        if capability not in known:
            raise UsageError(
                f"--compute-capability {capability}: {NAMES[runtime]} {trt.__version__} knows "
                f"{', '.join(sorted(known, key=float))}."
            )
        config.set_compute_capability(known[capability], index)


def _add_profile(
    builder: Any, config: Any, source: OnnxSource, batch: tuple[int, int, int]
) -> None:
    least, usual, most = ((count, *source.manifest.size_hw, 3) for count in batch)
    if not batch[0] <= batch[1] <= batch[2]:
        raise UsageError(f"--batch {batch}: expected least <= usual <= most, like 1:4:8.")
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, least, usual, most)
    if config.add_optimization_profile(profile) < 0:
        raise IncompatibleError(f"{source.path}: TensorRT refuses batches {batch}.")
