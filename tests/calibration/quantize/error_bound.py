"""Bound how far an int8 graph's tensors may be from fp32's, from the steps of its Q/DQ pairs."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_ad.calibration.quantize.placement import Placement, channel_axis
from edge_ad.calibration.quantize.qdq import scale_of
from edge_ad.calibration.ranges.graph_engine import open_session
from edge_ad.calibration.ranges.target import Range
from edge_ad.engine.base import INPUT
from edge_ad.onnx_graph.index import Edge, GraphIndex

Tensors = dict[str, NDArray[np.float32]]
_FLOAT32 = 1e-5  # share of a value by which sums in another order may differ


def activations(graph: GraphIndex, batch: NDArray[np.uint8]) -> Tensors:
    """Return every float32 tensor that the fp32 graph computes for a batch."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    names = [name for name in graph.producers if name not in graph.outputs]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    names += graph.outputs
    values = open_session(model).run(names, {INPUT: batch})
    return {n: v for n, v in zip(names, values, strict=True) if v.dtype == np.float32}


def ranges_of(tensors: Tensors) -> dict[str, Range]:
    """Return what every tensor spans: ranges that clip nothing."""
    return {name: Range(float(v.min()), float(v.max())) for name, v in tensors.items()}


def error_bound(
    graph: GraphIndex, placement: Placement, ranges: dict[str, Range], tensors: Tensors
) -> dict[str, float]:
    """Return by tensor the largest possible difference of the int8 graph from fp32.

    Reading a quantized tensor rounds by half its step. A weight is off by half its channel's step,
    a bias by half the product of both; clipping to a range that fp32 stays in adds nothing.
    """
    errors: dict[str, float] = defaultdict(float)
    for node in graph.nodes.values():
        reads = {name: _as_read(name, errors, placement, ranges) for name in node.input}
        output = node.output[0]
        if graph.weight_of(node) is not None:
            errors[output] = _of_weights(graph, node, placement, reads, ranges, tensors)
        elif node.op_type == "Add":
            errors[output] = sum(reads.values())
        elif node.op_type in ("Relu", "MaxPool", "Concat", "Squeeze", "ReduceMax"):
            errors[output] = max(reads.values())
        if output in tensors:
            errors[output] += _FLOAT32 * float(np.abs(tensors[output]).max())
    return errors


def _as_read(
    name: str, errors: dict[str, float], placement: Placement, ranges: dict[str, Range]
) -> float:
    if name not in placement.tensors:
        return errors[name]
    return errors[name] + scale_of(ranges[name], placement.target).scale / 2


def _of_weights(
    graph: GraphIndex,
    node: onnx.NodeProto,
    placement: Placement,
    reads: dict[str, float],
    ranges: dict[str, Range],
    tensors: Tensors,
) -> float:
    weight, axis = graph.weight_of(node), channel_axis(node)
    assert weight is not None
    others = tuple(i for i in range(weight.ndim) if i != axis)
    total = np.abs(weight).sum(axis=others)
    error = float((total * reads[node.input[0]]).max())
    if Edge(node.name, 1) not in placement.weights:
        return error
    step = np.abs(weight).max(axis=others) / 127
    bias = graph.constants[node.input[2]] if len(node.input) > 2 else np.zeros(1)
    step_in = scale_of(ranges[node.input[0]], placement.target).scale
    step = np.maximum(step, np.abs(bias) / step_in / 2**30)
    largest = float(np.abs(tensors[node.input[0]]).max()) + reads[node.input[0]]
    products = weight.size // weight.shape[axis]
    return float((total * reads[node.input[0]] + step / 2 * (products * largest + step_in)).max())
