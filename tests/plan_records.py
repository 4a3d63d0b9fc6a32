"""GPUs, and the record of a plan that was built on one of them."""

from __future__ import annotations

from typing import Any

from edge_ad.plan_record import (
    BuildRecord,
    Machine,
    NoGpu,
    Runtime,
    TargetGpu,
)

ORIN = TargetGpu("Orin", "8.7", "12.6", "540.4.0", 30_000)
RTX_4090 = TargetGpu("NVIDIA GeForce RTX 4090", "8.9", "13.0", "580.95.05", 24_000)
RTX_2080 = TargetGpu("NVIDIA GeForce RTX 2080", "7.5", "13.0", "580.95.05", 8_000)


def built(**changes: Any) -> BuildRecord:
    """Return the record of a plan that TensorRT 10.3.0 built on an Orin."""
    usual: dict[str, Any] = {
        "runtime": "tensorrt",
        "version": "10.3.0",
        "onnx": "part.onnx",
        "onnx_sha256": "0" * 64,
        "plan_bytes": 7,
        "gpu": ORIN.name,
        "compute_capability": "8.7",
        "cuda": "12.6",
        "driver": "540.4.0",
    }
    return BuildRecord(**{**usual, **changes})


def here(
    gpu: TargetGpu | NoGpu = ORIN, version: str = "10.3.0", runtime: Runtime = "tensorrt"
) -> Machine:
    return Machine(runtime, version, gpu)
