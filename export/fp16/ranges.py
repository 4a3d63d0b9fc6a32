"""What fp16 would lose of a graph's values, measured on frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edge_ad.engine.base import INPUT, in_batches
from edge_ad.export.fp16.rules import Reasons
from edge_ad.frame import Image
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.wiring import FLOAT, HALF, GraphIndex, half_slots

LARGEST = 65504 / 8  # fp16 ends at 65504; frames not measured may reach higher than these
LOST = 2e-3  # of a tensor's norm; values in fp16's normal range lose 3e-4, those below it more
_FIGURES = ("largest", "error", "norm")


@dataclass(frozen=True, slots=True)
class Loss:
    """The largest absolute value of a tensor, and the share of its norm that rounding costs."""

    largest: float
    share: float

    @property
    def reason(self) -> str:
        """Why this tensor may not be fp16; empty when it may."""
        if not self.largest <= LARGEST:
            return f"values up to {self.largest:.3g} (fp16 ends at 65504; {LARGEST:g} is safe)"
        if not self.share <= LOST:
            return f"values too small for fp16, which would lose {self.share:.2g} of them"
        return ""


def add_measured(
    model: ModelProto, wiring: GraphIndex, reasons: Reasons, frames: Image, manifest: Manifest
) -> None:
    """Pull the nodes at both ends of tensors that fp16 cannot hold back to fp32, in `reasons`."""
    names = {name: nodes for name, nodes in _half_tensors(model, wiring, reasons).items()}
    losses = measure(model, (name for name in names if name in wiring.maker), frames, manifest)
    constants = {
        name: _of_constant(wiring.constants[name]) for name in names if name in wiring.constants
    }
    for name, loss in {**losses, **constants}.items():
        if loss.reason:
            for index in names[name]:
                reasons.setdefault(index, f"{name}: {loss.reason}")


def measure(
    model: ModelProto, names: Iterable[str], frames: Image, manifest: Manifest
) -> dict[str, Loss]:
    """Loss of each named tensor over all frames, in one pass a batch.

    The figures are computed inside the graph, so that no tensor has to leave it.
    """
    names = list(names)
    if not names:
        return {}
    session = _session(_probed(model, names))
    totals = np.zeros((len(names), 3))
    for batch in in_batches(frames, manifest.batch or len(frames)):
        found = np.array(session.run(None, {INPUT: batch}), np.float64).reshape(-1, 3)
        totals[:, 0] = np.maximum(totals[:, 0], found[:, 0])
        totals[:, 1:] += found[:, 1:]
    return {name: _loss(*total) for name, total in zip(names, totals, strict=True)}


def _half_tensors(model: ModelProto, wiring: GraphIndex, reasons: Reasons) -> dict[str, list[int]]:
    """Tensors that fp16 nodes would make or take in fp16, with those nodes."""
    opsets = {one.domain: one.version for one in model.opset_import}
    found: dict[str, list[int]] = {}
    for index, node in enumerate(wiring.nodes):
        if index in reasons or (slots := half_slots(node, opsets)) is None:
            continue
        sides = (*zip(node.input, slots[0], strict=True), *zip(node.output, slots[1], strict=True))
        for name, half in sides:
            if half and wiring.types.get(name) == FLOAT:
                found.setdefault(name, []).append(index)
    return found


def _of_constant(tensor: TensorProto) -> Loss:
    """Loss of a constant: of its norm where it holds weights; a lone number must survive itself."""
    values = numpy_helper.to_array(tensor).astype(np.float64)
    with np.errstate(over="ignore"):
        error = np.square(values.astype(np.float16).astype(np.float64) - values).sum()
    return _loss(float(np.abs(values).max(initial=0)), float(error), float(np.square(values).sum()))


def _loss(largest: float, error: float, norm: float) -> Loss:
    return Loss(float(largest), float(np.sqrt(error / norm)) if norm else 0.0)


def _probed(model: ModelProto, names: list[str]) -> ModelProto:
    """A copy whose outputs are three numbers for each named tensor."""
    probed = ModelProto()
    probed.CopyFrom(model)
    del probed.graph.output[:]
    for name in names:
        probed.graph.node.extend(_probe(name))
        for figure in _FIGURES:
            probed.graph.output.append(helper.make_tensor_value_info(f"{name}.{figure}", FLOAT, []))
    return probed


def _probe(name: str) -> Iterator[NodeProto]:
    """Nodes that compute largest value, squared rounding error and squared norm of a tensor."""
    largest, error, norm = (f"{name}.{figure}" for figure in _FIGURES)
    yield helper.make_node("Abs", [name], [f"{name}.abs"])
    yield helper.make_node("ReduceMax", [f"{name}.abs"], [largest], keepdims=0)
    yield helper.make_node("Cast", [name], [f"{name}.rounded"], to=HALF)
    yield helper.make_node("Cast", [f"{name}.rounded"], [f"{name}.again"], to=FLOAT)
    yield helper.make_node("Sub", [f"{name}.again", name], [f"{name}.off"])
    yield helper.make_node("ReduceSumSquare", [f"{name}.off"], [error], keepdims=0)
    yield helper.make_node("ReduceSumSquare", [name], [norm], keepdims=0)


def _session(model: ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
