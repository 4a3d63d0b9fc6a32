"""Estimate an engine's time on GPUs that are not here, from published peaks.

The roofline says what every layer must take on a device at its peaks; how much longer layers really
take is measured here, on this machine, and assumed to be the same there. Neither launches nor what
TensorRT fuses is known. An estimate says which devices are worth a trial, nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_ad.bench.roofline import Ceilings, LayerCost
from edge_ad.precision import Precision

_INT8 = ("QLinear", "QGemm", "ConvInteger", "MatMulInteger")
_INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """Published peaks of a GPU, dense: 10^12 operations a second, and 10^9 bytes a second.

    Half the figures with sparsity, where only those are published. `fp16` accumulates in fp32.
    """

    name: str
    fp32: float
    fp16: float
    int8: float
    gbytes: float


# Jetson: module data sheets of NVIDIA, GPU alone (an AGX's or NX's total counts its DLAs too), in
# the fastest power mode; Thor's int8 is its fp8's. Cards: data sheets and architecture papers.
DEVICES = (
    DeviceSpec("Jetson Orin Nano 8GB Super", 2.1, 16.7, 33.4, 102),
    DeviceSpec("Jetson Orin NX 16GB", 1.9, 15.0, 30.1, 102),
    DeviceSpec("Jetson AGX Orin 64GB", 5.3, 42.5, 85.0, 205),
    DeviceSpec("Jetson Thor T5000", 8.1, 258.0, 517.0, 273),
    DeviceSpec("RTX A2000 12GB", 8.0, 32.0, 64.0, 288),
    DeviceSpec("RTX 3060", 12.7, 25.6, 102.0, 360),
    DeviceSpec("RTX 4060", 15.1, 30.2, 121.0, 272),
    DeviceSpec("RTX 4090", 82.6, 165.2, 660.6, 1008),
)


def estimate_devices(
    layers: Sequence[LayerCost], here: Ceilings, precision: Precision, flags: frozenset[str]
) -> dict[str, Any]:
    """Return for each device the least time at its peaks, and that time as often as it takes here.

    `precision` is the file's; int8 layers cost int8 operations, others those of fp32, or of fp16 in
    an fp16 file. `flags` are the processor's: with VNNI or its like it does four int8 operations in
    the time of one of float32. `error` is by how much the peaks alone miss this machine's time.
    """
    int8 = 4.0 if flags & _INT8_FLAGS else 1.0
    measured_ms = 1e3 * sum(layer.seconds for layer in layers)
    least_ms = _least_ms(layers, here.gflops, int8 * here.gflops, here.gbytes)
    over = max(1.0, measured_ms / least_ms)  # below 1, this machine's ceilings were disturbed
    rows = []
    for device in DEVICES:
        peak = device.fp16 if precision == "fp16" else device.fp32
        least = _least_ms(layers, 1e3 * peak, 1e3 * device.int8, device.gbytes)
        rows.append(
            {
                "device": device.name,
                "estimate_ms": round(least * over, 3),
                "at_least_ms": round(least, 3),
            }
        )
    return {
        "kind": "estimate from published peaks, not measured",
        "here_ms": round(measured_ms, 3),
        "here_at_least_ms": round(least_ms, 3),
        "error": round(least_ms / measured_ms - 1, 3),
        "devices": rows,
    }


def _least_ms(layers: Sequence[LayerCost], gflops: float, int8_gops: float, gbytes: float) -> float:
    """Return the milliseconds that layers must take, one after the other."""
    total = 0.0
    for layer in layers:
        speed = int8_gops if layer.name.startswith(_INT8) else gflops
        total += max(layer.flops / speed, layer.moved_bytes / gbytes)
    return total / 1e6
