"""Say where an engine's time goes: each group of layers beside what the machine could do.

The roofline model (Williams et al., CACM 2009): with F operations and B bytes, a layer takes at
least F / (operations a second) and B / (bytes a second); the larger of the two is its bound.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edge_ad.engine.base import INPUT
from edge_ad.engine.thread_variants import session_options
from edge_ad.errors import IncompatibleError, MissingExtra
from edge_ad.frame import Image

RUNS = 20
# A square's side, small enough for a busy machine to let one product pass undisturbed; and bytes,
# beyond any cache that a core has.
_MATRIX, _COPIED = 512, 64 << 20
CEILING_S = 1.0
_PLAIN_WEIGHTS = {"session.disable_prepacking": "1"}
_PRODUCTS = {"Conv", "FusedConv", "QLinearConv", "ConvInteger", "ConvTranspose"}
_MATRICES = {"MatMul", "Gemm", "FusedMatMul", "QLinearMatMul", "MatMulInteger", "QGemm"}

Events = Iterable[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The most this machine did: operations of float32 a second, and bytes read and written."""

    gflops: float
    gbytes: float

    def best(self, other: Ceilings) -> Ceilings:
        """Return the higher of each."""
        return Ceilings(max(self.gflops, other.gflops), max(self.gbytes, other.gbytes))

    def least_s(self, layer: LayerCost) -> float:
        """Return the time that a layer must take."""
        return max(layer.flops / self.gflops, layer.moved_bytes / self.gbytes) / 1e9

    def bound(self, layer: LayerCost) -> str:
        """Return which of the two it is: `compute` or `memory`."""
        compute_s, memory_s = layer.flops / self.gflops, layer.moved_bytes / self.gbytes
        return "compute" if compute_s > memory_s else "memory"


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One layer, or layers of one kind: median seconds, operations, and bytes in and out."""

    name: str
    seconds: float
    flops: float
    moved_bytes: float
    layers: int = 1


def measure_ceilings(duration_s: float = CEILING_S) -> Ceilings:
    """Measure matrix products and copies with all cores, and return the best of each."""
    a = np.ones((_MATRIX, _MATRIX), np.float32)
    product = np.empty_like(a)
    source = np.ones(_COPIED // 4, np.float32)
    target = np.empty_like(source)
    product_s = _best(lambda: np.matmul(a, a, out=product), duration_s)
    copy_s = _best(lambda: np.copyto(target, source), duration_s)
    return Ceilings(2 * _MATRIX**3 / product_s / 1e9, 2 * _COPIED / copy_s / 1e9)


def check_profiled(engine: Path) -> None:
    """Raise IncompatibleError for a plan: TensorRT has its own profiler."""
    if engine.suffix != ".onnx":
        raise IncompatibleError(
            f"{engine}: layers are profiled in ONNX files only. For a plan use NVIDIA's tools: "
            "trtexec --dumpProfile, or nsys profile edge-ad bench."
        )


def profile_layers(
    engine: Path, batch: Image, threads: int = 0, runs: int = RUNS
) -> list[LayerCost]:
    """Return the layers that ONNX Runtime runs, after its own fusions, in their order.

    Raises as `check_profiled` does.
    """
    check_profiled(engine)
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingExtra("bench --roofline", "onnxruntime", "onnxruntime") from error

    def profile(runs: int, settings: Mapping[str, str]) -> Events:
        with tempfile.TemporaryDirectory() as folder:
            options = session_options(threads)
            options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
            for key, value in settings.items():
                options.add_session_config_entry(key, value)
            session = ort.InferenceSession(engine, options, providers=["CPUExecutionProvider"])
            for _ in range(runs):
                session.run(None, {INPUT: batch})
            events: Events = json.loads(Path(session.end_profiling()).read_text())
            return events

    return read_profile(profile(runs + 1, {}), profile(1, _PLAIN_WEIGHTS))


def read_profile(events: Events, shapes: Events = ()) -> list[LayerCost]:
    """Return the layers of ONNX Runtime's profile; the first run, which warms up, is left out.

    `shapes` is a profile of the same layers with plain weights: where a kernel stores its weights
    in its own layout, as those of int8 do, `events` lack their shapes.
    """
    times: dict[int, list[float]] = defaultdict(list)
    layers: dict[int, Mapping[str, Any]] = {}
    for number, event in _kernels(events):
        times[number].append(event["dur"] / 1e6)
        layers[number] = event["args"]
    plain = {number: event["args"] for number, event in _kernels(shapes)}
    return [
        _cost(plain.get(number, layer), median(times[number][1:] or times[number]))
        for number, layer in sorted(layers.items())
    ]


def _kernels(events: Events) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the events of layers, with the layer's number."""
    for event in events:
        if event.get("cat") == "Node" and str(event.get("name")).endswith("_kernel_time"):
            yield int(event["args"]["node_index"]), event


def group_layers(layers: Iterable[LayerCost]) -> list[LayerCost]:
    """Add up layers of one kind, the most expensive first."""
    groups: dict[str, list[LayerCost]] = defaultdict(list)
    for layer in layers:
        groups[layer.name].append(layer)
    summed = [
        LayerCost(
            name,
            sum(layer.seconds for layer in group),
            sum(layer.flops for layer in group),
            sum(layer.moved_bytes for layer in group),
            len(group),
        )
        for name, group in groups.items()
    ]
    return sorted(summed, key=lambda group: -group.seconds)


def describe_roofline(layers: list[LayerCost], ceilings: Ceilings) -> dict[str, Any]:
    """Return ceilings and groups: share of the time, speed, bound and part of what is possible.

    `of_ceiling` is the least time over the measured one. Layers of int8 may exceed 1, since the
    ceiling is float32's, and so may those whose data stay in a cache.
    """
    whole = sum(layer.seconds for layer in layers)
    least = sum(ceilings.least_s(layer) for layer in layers)
    return {
        "gflops_ceiling": round(ceilings.gflops, 1),
        "gbytes_ceiling": round(ceilings.gbytes, 1),
        "layers_ms": round(1e3 * whole, 4),
        "least_ms": round(1e3 * least, 4),
        "groups": [_describe(group, whole, ceilings) for group in group_layers(layers)],
    }


def _describe(group: LayerCost, whole_s: float, ceilings: Ceilings) -> dict[str, Any]:
    return {
        "group": group.name,
        "layers": group.layers,
        "ms": round(1e3 * group.seconds, 4),
        "share": round(group.seconds / whole_s, 4),
        "gflop": round(group.flops / 1e9, 4),
        "mbytes": round(group.moved_bytes / 1e6, 4),
        "gflops": round(group.flops / group.seconds / 1e9, 2),
        "bound": ceilings.bound(group),
        "of_ceiling": round(ceilings.least_s(group) / group.seconds, 4),
    }


def _cost(layer: Mapping[str, Any], seconds: float) -> LayerCost:
    inputs, outputs = (_shapes(layer[f"{side}_type_shape"]) for side in ("input", "output"))
    operator, flops = str(layer["op_name"]), 0.0
    name = operator
    if operator in _PRODUCTS:
        kernel = next((shape for shape in inputs[1:] if len(shape) == 4), inputs[0])
        flops = 2.0 * math.prod(outputs[0]) * math.prod(kernel[1:])
        name = f"{operator} {'x'.join(map(str, kernel[2:]))}"
    elif operator in _MATRICES:
        flops = 2.0 * math.prod(outputs[0]) * inputs[0][-1]
    moved = sum(float(layer[f"{what}_size"]) for what in ("activation", "parameter", "output"))
    return LayerCost(name, max(seconds, 1e-9), flops, moved)


def _shapes(described: list[Mapping[str, list[int]]]) -> list[list[int]]:
    return [shape for entry in described for shape in entry.values()]


def _best(work: Callable[[], object], duration_s: float) -> float:
    """Return the shortest seconds of a call within a time."""
    until, best = time.perf_counter() + duration_s, math.inf
    while time.perf_counter() < until:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best
