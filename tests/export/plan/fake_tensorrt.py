"""TensorRT proper as far as `build` calls it: it builds only on a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edge_ad.engine.tensorrt.runtimes import TensorRT
from edge_ad.export.plan.source import OnnxSource
from edge_ad.geometry import Geometry
from edge_ad.manifest import Manifest
from edge_ad.plan_record import TargetGpu

ORIN = TargetGpu("Orin", "8.7", "12.6", "540.4.0", 30_000)


def tensorrt(version: str = "10.3.0") -> TensorRT:
    """Return the names of a version; newer ones have the same-compute-capability level."""
    levels = {"NONE": 0, "AMPERE_PLUS": 1}
    if version != "10.3.0":
        levels["SAME_COMPUTE_CAPABILITY"] = 2
    return SimpleNamespace(
        __version__=version,
        ProfilingVerbosity=SimpleNamespace(DETAILED="detailed"),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
        BuilderFlag=SimpleNamespace(
            VERSION_COMPATIBLE="portable", GPU_FALLBACK="fallback", TF32="tf32"
        ),
        HardwareCompatibilityLevel=SimpleNamespace(**levels),
        DeviceType=SimpleNamespace(DLA="dla"),
    )


@dataclass
class Config:
    """A builder configuration that records calls; `known` is the only timing cache it accepts."""

    known: bytes = b""
    settings: dict[str, Any] = field(default_factory=dict)
    flags: list[str] = field(default_factory=lambda: ["tf32"])  # TensorRT sets this one itself
    DLA_core: int = -1
    default_device_type: str = "gpu"
    builder_optimization_level: int = 3
    hardware_compatibility_level: int = 0
    profiling_verbosity: str = ""

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)

    def clear_flag(self, flag: str) -> None:
        self.flags.remove(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.settings[pool] = size

    def add_optimization_profile(self, profile: Any) -> int:
        self.settings["profile"] = profile.shapes
        return 0

    def create_timing_cache(self, data: bytes) -> Any:
        return None if data == b"nonsense" else SimpleNamespace(data=data)

    def set_timing_cache(self, cache: Any, *, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch, "a foreign cache must not be taken"
        return cache.data in (b"", self.known)

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: bytearray(b"measured"))


class Profile:
    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.shapes = (name, *shapes)


def builder(config: Config, cores: int = 0) -> Any:
    return SimpleNamespace(
        create_builder_config=lambda: config,
        create_optimization_profile=Profile,
        num_DLA_cores=cores,
    )


def source(batch: int | None = 1, tiles: tuple[int, int] = (1, 1)) -> OnnxSource:
    geometry = Geometry(tiles=tiles)
    manifest = Manifest(method="m", size_hw=(32, 48), batch=batch, geometry=geometry)
    return OnnxSource(Path("part.onnx"), b"", "0" * 64, manifest)
