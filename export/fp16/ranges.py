"""Measure on frames what fp16 would lose of a graph's values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from edge_ad.engine.base import INPUT, in_batches
from edge_ad.export.fp16.rewrite import FP16, FP32
from edge_ad.export.fp16.rules import Reasons, fp16_support
from edge_ad.frame import Image
from edge_ad.onnx_graph.index import GraphIndex

LARGEST = 65504 / 8  # fp16 ends at 65504; frames that were not measured may exceed these
MOST_LOST = 2e-3  # of a tensor's norm; values in fp16's normal range lose 3e-4, those below it more
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
        if not self.share <= MOST_LOST:
            return f"values too small for fp16, which would lose {self.share:.2g} of them"
        return ""


def add_measured(graph: GraphIndex, reasons: Reasons, frames: Image) -> None:
    """Add to `reasons` the nodes at both ends of tensors that fp16 cannot represent."""
    nodes_of = _fp16_tensors(graph, reasons)
    losses = measure(graph, (name for name in nodes_of if name in graph.producers), frames)
    constants = {
        name: _constant_loss(graph.constants[name]) for name in nodes_of if name in graph.constants
    }
    for name, loss in {**losses, **constants}.items():
        if loss.reason:
            for node in nodes_of[name]:
                reasons.setdefault(node, f"{name}: {loss.reason}")


def measure(graph: GraphIndex, names: Iterable[str], frames: Image) -> dict[str, Loss]:
    """Return the loss of each named tensor over all frames, in one pass a batch.

    The figures are computed inside the graph, so that no tensor has to leave it.
    """
    names = list(names)
    if not names:
        return {}
    session = _session(_probed(graph.model, names))
    totals = np.zeros((len(names), len(_FIGURES)))
    for batch in in_batches(frames, graph.manifest.batch or len(frames)):
        figures = np.array(session.run(None, {INPUT: batch}), np.float64).reshape(totals.shape)
        totals[:, 0] = np.maximum(totals[:, 0], figures[:, 0])
        totals[:, 1:] += figures[:, 1:]
    return {name: _loss(*total) for name, total in zip(names, totals, strict=True)}


def _fp16_tensors(graph: GraphIndex, reasons: Reasons) -> dict[str, list[str]]:
    """Return the tensors that fp16 nodes would write or read in fp16, with those nodes' names."""
    types = graph.tensor_types.types
    result: dict[str, list[str]] = {}
    for node in graph.nodes.values():
        if node.name in reasons or (support := fp16_support(node, graph.opsets)) is None:
            continue
        tensors = zip((*node.input, *node.output), (*support[0], *support[1]), strict=True)
        for name, allowed in tensors:
            if allowed and types.get(name) == FP32:
                result.setdefault(name, []).append(node.name)
    return result


def _constant_loss(constant: NDArray[np.generic]) -> Loss:
    """Return the loss of a constant over all its values."""
    values = np.asarray(constant, np.float64)
    with np.errstate(over="ignore"):
        error = np.square(values.astype(np.float16).astype(np.float64) - values).sum()
    return _loss(float(np.abs(values).max(initial=0)), float(error), float(np.square(values).sum()))


def _loss(largest: float, error: float, norm: float) -> Loss:
    return Loss(float(largest), float(np.sqrt(error / norm)) if norm else 0.0)


def _probed(model: ModelProto, names: list[str]) -> ModelProto:
    """Return a copy whose outputs are three numbers for each named tensor."""
    probed = ModelProto()
    probed.CopyFrom(model)
    del probed.graph.output[:]
    for name in names:
        probed.graph.node.extend(_probe(name))
        for figure in _FIGURES:
            probed.graph.output.append(helper.make_tensor_value_info(f"{name}.{figure}", FP32, []))
    return probed


def _probe(name: str) -> Iterator[NodeProto]:
    """Yield nodes computing largest value, squared rounding error and squared norm."""
    largest, error, norm = (f"{name}.{figure}" for figure in _FIGURES)
    yield helper.make_node("Abs", [name], [f"{name}.abs"])
    yield helper.make_node("ReduceMax", [f"{name}.abs"], [largest], keepdims=0)
    yield helper.make_node("Cast", [name], [f"{name}.rounded"], to=FP16)
    yield helper.make_node("Cast", [f"{name}.rounded"], [f"{name}.again"], to=FP32)
    yield helper.make_node("Sub", [f"{name}.again", name], [f"{name}.difference"])
    yield helper.make_node("ReduceSumSquare", [f"{name}.difference"], [error], keepdims=0)
    yield helper.make_node("ReduceSumSquare", [name], [norm], keepdims=0)


def _session(model: ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
