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
from edge_ad.onnx_graph.names import Names, tensor_names

Floats = NDArray[np.float32]
_BIAS_STEPS = 2**30  # half of int32: the sum of products needs the other half
_LEAST_STEP = 2.0**-100  # far above float32's least, so that a product of steps is not zero
_FP16_SCALES = 19  # the first opset with them
_MIN_FP16 = 2.0**-24


class Scale(NamedTuple):
    """real = (quantized - zero_point) * scale."""

    scale: float
    zero_point: int


def scale_of(limits: Range, target: Target) -> Scale:
    """Return a tensor's scale; zero is always exact, so that padding and Relu stay exact."""
    if target == "tensorrt":
        return Scale(max(-limits.low / SIGNED, limits.high / SIGNED, _LEAST_STEP), 0)
    low, high = min(limits.low, 0.0), max(limits.high, 0.0)
    step = max((high - low) / UNSIGNED, _LEAST_STEP)
    return Scale(step, min(round(-low / step), UNSIGNED))


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
        self._dequantized: dict[str, str] = {}  # by tensor, its copy that went through int8
        self._names, self._node_names = Names(), Names()

    def write(self, graph: onnx.GraphProto) -> None:
        """Put the pairs into the graph, in place."""
        self._names = Names(tensor_names(graph))
        self._node_names = Names(node.name for node in graph.node)
        for node in graph.node:
            if Edge(node.name, 1) in self._placement.weights:
                self._quantize_weights(node)
            for position, tensor in enumerate(node.input):
                if Edge(node.name, position) in self._placement.edges:
                    fp32_name = self._graph.nodes[node.name].input[position]
                    node.input[position] = self._through_int8(tensor, fp32_name)
            self._nodes.append(node)
        self._store(graph)

    def _through_int8(self, tensor: str, fp32_name: str) -> str:
        """Quantize a tensor and dequantize it again, once for all its readers; return the name."""
        if tensor in self._dequantized:
            return self._dequantized[tensor]
        scale, zero_point = self._scales[fp32_name]
        kind = np.int8 if self._placement.target == "tensorrt" else np.uint8
        values = {
            "scale": self._as_scale(np.array(scale), tensor),
            "zero_point": np.array(zero_point, kind),
        }
        names = [self._store_as(f"{tensor}.{part}", value) for part, value in values.items()]
        quantized, dequantized = (
            self._names.unique(f"{tensor}.{state}") for state in ("quantized", "dequantized")
        )
        self._node("QuantizeLinear", [tensor, *names], quantized)
        self._node("DequantizeLinear", [quantized, *names], dequantized)
        self._dequantized[tensor] = dequantized
        return dequantized

    def _as_scale(self, steps: NDArray[np.floating], tensor: str) -> Floats | NDArray[np.float16]:
        """Return steps in the type of their tensor; in fp16 rounded up, so that nothing clips."""
        if tensor not in self._fp16:
            return np.asarray(steps, np.float32)
        rounded = np.asarray(np.maximum(steps, _MIN_FP16), np.float16)
        above = np.nextafter(rounded, np.float16(np.inf))
        return np.asarray(np.where(rounded < steps, above, rounded), np.float16)

    def _quantize_weights(self, node: onnx.NodeProto) -> None:
        axis = self._placement.weights[Edge(node.name, 1)]
        weight = self._graph.weight_of(self._graph.nodes[node.name])
        assert weight is not None
        steps = self._as_scale(_channel_steps(weight, axis), node.input[1]).astype(np.float32)
        if self._placement.target == "onnxruntime":
            steps = self._quantize_bias(node, steps, dead=_all_zero(weight, axis))
        name = node.input[1]
        integers = np.clip(np.rint(weight / _along(steps, axis, weight.ndim)), -SIGNED, SIGNED)
        node.input[1] = self._constant(name, integers.astype(np.int8), steps, axis)

    def _quantize_bias(
        self, node: onnx.NodeProto, steps: Floats, dead: NDArray[np.bool_]
    ) -> Floats:
        """Store a bias as int32, in steps of the input's times the weight's.

        Returns the weight steps, widened where the bias would overflow. Those of a filter that is
        `dead`, all zero, follow the bias alone, which is all that it gives.
        """
        bias = self._bias(node, len(steps))
        if bias is None:
            return steps
        scale = self._scales[self._graph.nodes[node.name].input[0]].scale
        least = np.maximum(np.abs(bias) / (scale * _BIAS_STEPS), _LEAST_STEP / scale)
        least = np.maximum(least, np.finfo(np.float32).tiny)
        steps = np.where(dead & (bias != 0), least, np.maximum(steps, least)).astype(np.float32)
        product = (steps.astype(np.float64) * scale).astype(np.float32)
        integers = np.rint(bias / product).astype(np.int32)
        node.input[2] = self._constant(node.input[2], integers, product, 0)
        return steps

    def _bias(self, node: onnx.NodeProto, channels: int) -> NDArray[np.float64] | None:
        """Return a constant bias, one number a channel; None where no int8 kernel adds it."""
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:
            return None
        bias = self._graph.constants.get(node.input[2])
        if bias is None or bias.size not in (1, channels):
            return None
        return np.broadcast_to(bias.astype(np.float64).reshape(-1), channels)

    def _constant(
        self,
        name: str,
        integers: NDArray[np.generic],
        steps: Floats,
        axis: int,
    ) -> str:
        """Store integers and their steps; return the name of the dequantized tensor."""
        zero = np.zeros(steps.shape, integers.dtype)
        parts = {"quantized": integers, "scale": self._as_scale(steps, name), "zero_point": zero}
        names = [self._store_as(f"{name}.{part}", value) for part, value in parts.items()]
        dequantized = self._names.unique(f"{name}.dequantized")
        self._node("DequantizeLinear", names, dequantized, axis=axis)
        return dequantized

    def _store_as(self, name: str, value: NDArray[np.generic]) -> str:
        """Keep a constant under this name, or a similar one if it is taken; return the name."""
        name = self._names.unique(name)
        self._constants[name] = value
        return name

    def _node(self, op: str, inputs: list[str], output: str, *, axis: int | None = None) -> None:
        name = self._node_names.unique(f"{op}.{output}")
        node = helper.make_node(op, inputs, [output], name)
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


def _all_zero(weight: Floats, axis: int) -> NDArray[np.bool_]:
    """Return for each channel whether its weights are all zero."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    return np.asarray(np.abs(weight).max(axis=others) == 0)


def _along(steps: Floats, axis: int, rank: int) -> Floats:
    return steps.reshape([-1 if i == axis else 1 for i in range(rank)])
