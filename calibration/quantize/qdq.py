"""Write the Q/DQ pairs of a placement into a graph.

For TensorRT activations are signed and symmetric, and biases stay float (an int32 DequantizeLinear
on a bias is refused). For ONNX Runtime activations are unsigned with a zero point, and biases are
int32 with the scale of the product, which its integer kernels add without a conversion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge_ad.calibration.quantize.placement import Placement
from edge_ad.calibration.ranges.target import SIGNED, UNSIGNED, Range, Target
from edge_ad.onnx_graph.index import Edge, GraphIndex

Floats = NDArray[np.float32]
_INT32 = 2**31 - 1
_FP16_SCALES = 19  # the first opset with them
_MIN_FP16 = 2.0**-24


class Scale(NamedTuple):
    """real = (quantized - zero_point) * scale."""

    scale: float
    zero_point: int


def scale_of(limits: Range, target: Target) -> Scale:
    """Return a tensor's scale; zero is always exact, so that padding and Relu stay exact."""
    if target == "tensorrt":
        return Scale(max(-limits.low, limits.high) / SIGNED, 0)
    low, high = min(limits.low, 0.0), max(limits.high, 0.0)
    step = (high - low) / UNSIGNED
    return Scale(step, round(-low / step))


def quantize(
    graph: GraphIndex,
    placement: Placement,
    ranges: Mapping[str, Range],
    fp16_model: onnx.ModelProto | None = None,
) -> onnx.ModelProto:
    """Return a copy of the graph's model with Q/DQ pairs as placed.

    `ranges` must name every tensor of the placement. `fp16_model` is the same graph with fp16 in
    places: there the pairs get fp16 scales, so that everything that is not int8 stays fp16.
    """
    model = onnx.ModelProto()
    model.CopyFrom(fp16_model or graph.model)
    fp16 = _fp16_tensors(model) if fp16_model else set()
    _Writer(graph, placement, ranges, fp16).write(model.graph)
    if fp16_model:
        _raise_opset(model)
    return model


def _fp16_tensors(model: onnx.ModelProto) -> set[str]:
    """Return the names of a model's fp16 tensors."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    kinds = {info.name: info.type.tensor_type.elem_type for info in inferred.value_info}
    kinds.update({tensor.name: tensor.data_type for tensor in inferred.initializer})
    return {name for name, kind in kinds.items() if kind == onnx.TensorProto.FLOAT16}


def _raise_opset(model: onnx.ModelProto) -> None:
    """Raise the opset to 19, which added fp16 scales and broke no older operator."""
    for opset in model.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, _FP16_SCALES)


class _Writer:
    """Rewrite a graph node by node, and collect the constants that the pairs need."""

    def __init__(
        self,
        graph: GraphIndex,
        placement: Placement,
        ranges: Mapping[str, Range],
        fp16: set[str],
    ) -> None:
        self._graph, self._placement, self._fp16 = graph, placement, fp16
        target = placement.target
        self._scales = {t: scale_of(ranges[t], target) for t in placement.tensors}
        self._constants: dict[str, NDArray[np.generic]] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._paired: set[str] = set()

    def write(self, graph: onnx.GraphProto) -> None:
        """Put the pairs into the graph, in place."""
        for node in graph.node:
            if Edge(node.name, 1) in self._placement.weights:
                self._quantize_weights(node)
            for position, tensor in enumerate(node.input):
                if Edge(node.name, position) in self._placement.edges:
                    self._add_pair(tensor, self._graph.nodes[node.name].input[position])
                    node.input[position] = f"{tensor}.dequantized"
            self._nodes.append(node)
        self._store(graph)

    def _add_pair(self, tensor: str, fp32_name: str) -> None:
        """Quantize a tensor and dequantize it again, once for all its readers."""
        if tensor in self._paired:
            return
        self._paired.add(tensor)
        scale, zero_point = self._scales[fp32_name]
        kind = np.int8 if self._placement.target == "tensorrt" else np.uint8
        names = [f"{tensor}.scale", f"{tensor}.zero_point"]
        self._constants[names[0]] = self._as_scale(np.array(scale), tensor)
        self._constants[names[1]] = np.array(zero_point, kind)
        quantized, dequantized = f"{tensor}.quantized", f"{tensor}.dequantized"
        self._node("QuantizeLinear", [tensor, *names], quantized)
        self._node("DequantizeLinear", [quantized, *names], dequantized)

    def _as_scale(self, steps: NDArray[np.floating], tensor: str) -> Floats | NDArray[np.float16]:
        """Return steps in the type of their tensor; in fp16 they are never rounded to zero."""
        if tensor not in self._fp16:
            return np.asarray(steps, np.float32)
        return np.asarray(np.maximum(steps, _MIN_FP16), np.float16)

    def _quantize_weights(self, node: onnx.NodeProto) -> None:
        axis = self._placement.weights[Edge(node.name, 1)]
        weight = self._graph.weight_of(self._graph.nodes[node.name])
        assert weight is not None
        steps = self._as_scale(_channel_steps(weight, axis), node.input[1]).astype(np.float32)
        if self._placement.target == "onnxruntime":
            steps = self._quantize_bias(node, steps)
        name = node.input[1]
        integers = np.clip(np.rint(weight / _along(steps, axis, weight.ndim)), -SIGNED, SIGNED)
        node.input[1] = self._constant(name, node, integers.astype(np.int8), steps, axis)

    def _quantize_bias(self, node: onnx.NodeProto, steps: Floats) -> Floats:
        """Store a bias as int32; return the weight steps, widened where it would overflow."""
        if len(node.input) < 3 or node.input[2] not in self._graph.constants:
            return steps
        bias = self._graph.constants[node.input[2]].astype(np.float64)
        scale = self._scales[self._graph.nodes[node.name].input[0]].scale
        steps = np.maximum(steps, np.abs(bias) / (scale * _INT32)).astype(np.float32)
        product = (steps.astype(np.float64) * scale).astype(np.float32)
        integers = np.rint(bias / product).astype(np.int32)
        node.input[2] = self._constant(node.input[2], node, integers, product, 0)
        return steps

    def _constant(
        self,
        name: str,
        node: onnx.NodeProto,
        integers: NDArray[np.generic],
        steps: Floats,
        axis: int,
    ) -> str:
        """Store integers and their steps; return the name of the dequantized tensor."""
        stem = f"{name}.of.{node.name}" if f"{name}.quantized" in self._constants else name
        names = [f"{stem}.quantized", f"{stem}.scale", f"{stem}.zero_point"]
        zero = np.zeros(steps.shape, integers.dtype)
        stored = self._as_scale(steps, name)
        self._constants.update(zip(names, (integers, stored, zero), strict=True))
        self._node("DequantizeLinear", names, f"{stem}.dequantized", axis=axis)
        return f"{stem}.dequantized"

    def _node(self, op: str, inputs: list[str], output: str, *, axis: int | None = None) -> None:
        node = helper.make_node(op, inputs, [output], f"{op}.{output}")
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        self._nodes.append(node)

    def _store(self, graph: onnx.GraphProto) -> None:
        del graph.node[:]
        graph.node.extend(self._nodes)
        read = {tensor for node in self._nodes for tensor in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in read]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name)
            for name, value in self._constants.items()
        )


def _channel_steps(weight: Floats, axis: int) -> Floats:
    """Return one symmetric step per channel; 1 for channels that are all zero."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others)
    return np.where(largest > 0, largest / SIGNED, 1.0).astype(np.float32)


def _along(steps: Floats, axis: int, rank: int) -> Floats:
    return steps.reshape([-1 if i == axis else 1 for i in range(rank)])
