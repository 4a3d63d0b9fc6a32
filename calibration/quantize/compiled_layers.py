"""Layers that TensorRT-RTX compiles a graph to, on a machine without a GPU.

The engine inspector needs a GPU, but the builder's most verbose log ends with the same list: every
layer with the types of its inputs, weights and outputs. Which kernels a GPU then runs is decided
when the plan is loaded there.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.calibration.quantize.placement import Placement
from edge_ad.engine.base import DEFAULT_MAX_BATCH
from edge_ad.engine.tensorrt.runtimes import TensorRT, installed, load
from edge_ad.errors import IncompatibleError

_LAYER = re.compile(r"^Name: (?P<name>\S+), LayerType: (?P<kind>\w+), (?P<rest>.*)$", re.MULTILINE)
_TYPES = re.compile(r"Datatype: (\w+)")
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]+)\]")


@dataclass(frozen=True)
class Layer:
    """One layer of the compiled plan. `origin` are the ONNX nodes it came from."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    outputs: tuple[str, ...]
    origin: tuple[str, ...]

    @property
    def int8(self) -> bool:
        """Return whether it multiplies int8 inputs by int8 weights, or moves int8 values."""
        weighted = self.kind in ("correlation", "gemm")
        return "Int8" in self.inputs and (not weighted or "Int8" in self.weights)


def compiled_layers(onnx: Path) -> list[Layer]:
    """Build a file with TensorRT-RTX and read the layers from its log.

    Raises IncompatibleError when it is not installed or refuses the graph.
    """
    trt = load("tensorrt-rtx")
    lines: list[str] = []
    builder = trt.Builder(_logger(trt, lines))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse(onnx.read_bytes()):
        raise IncompatibleError(f"{onnx}: TensorRT-RTX rejects it: {parser.get_error(0)}")
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    _add_profile(builder, config, network)
    if builder.build_serialized_network(network, config) is None:
        raise IncompatibleError(f"{onnx}: TensorRT-RTX cannot build it: {lines[-1]}")
    layers = {match["name"]: _layer(match) for match in _LAYER.finditer("\n".join(lines))}
    return list(layers.values())


def compiled_report(onnx: Path, placement: Placement) -> dict[str, Any] | None:
    """Report what TensorRT-RTX compiles a file to; None where it is not installed.

    `float_convolutions` maps each convolution that does not multiply in int8 to its rule; where the
    rule says int8, a fusion is missing, and the report says so.
    """
    if "tensorrt-rtx" not in installed():
        return None
    layers = compiled_layers(onnx)
    decisions = {d.node: d for d in placement.decisions if d.block}
    in_float = [layer for layer in layers if layer.kind == "correlation" and not layer.int8]
    names = [name for layer in in_float for name in layer.origin if name in decisions]
    return {
        "layers": count_layers(layers),
        "float_convolutions": {
            name: "not fused: its input or weights stayed float" if decisions[name].int8
            else decisions[name].rule
            for name in names
        },
    }  # fmt: skip


def count_layers(layers: list[Layer]) -> dict[str, int]:
    """Count the layers of each kind in int8 and in float."""
    kinds = Counter(f"{layer.kind} {'int8' if layer.int8 else 'float'}" for layer in layers)
    return dict(sorted(kinds.items()))


def _add_profile(builder: Any, config: Any, network: Any) -> None:
    """Allow the usual numbers of images, for a graph that leaves the number open."""
    image = network.get_input(0)
    count, *sides = image.shape
    if count < 0:
        profile = builder.create_optimization_profile()
        profile.set_shape(image.name, *((n, *sides) for n in (1, 1, DEFAULT_MAX_BATCH)))
        config.add_optimization_profile(profile)


def _logger(trt: TensorRT, lines: list[str]) -> Any:
    """Make a logger that keeps everything; its base class exists only once TensorRT is loaded."""

    def log(self: Any, severity: object, message: str) -> None:
        lines.append(message)

    def start(self: Any) -> None:
        trt.ILogger.__init__(self)

    return type("Log", (trt.ILogger,), {"__init__": start, "log": log})()


def _layer(match: re.Match[str]) -> Layer:
    rest = match["rest"]
    inputs, _, after = rest.partition("Outputs: ")
    inputs, _, weights = inputs.partition("Constants: ")
    outputs = after.partition("TacticName")[0]
    return Layer(
        name=match["name"],
        kind=match["kind"],
        inputs=tuple(_TYPES.findall(inputs)),
        weights=tuple(_TYPES.findall(weights)),
        outputs=tuple(_TYPES.findall(outputs)),
        origin=tuple(_ORIGIN.findall(rest)),
    )
