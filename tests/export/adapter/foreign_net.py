"""Nodes and constants of a small network, in the notation of any opset."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

CHANNELS = 16  # from here on TensorRT's int8 kernels pay off, so that calibration has work
FLOAT = TensorProto.FLOAT


class Net:
    """Nodes and constants in the notation of an opset."""

    def __init__(self, opset: int = 17, seed: int = 3) -> None:
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._rng = np.random.default_rng(seed)

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: object, kind: type[np.generic] = np.float32) -> str:
        self.constants[name] = np.asarray(value, kind)
        return name

    def conv(
        self, x: str, name: str, inputs: int, outputs: int, side: int = 3, **attributes: Any
    ) -> str:
        group = attributes.get("group", 1)
        shape = (outputs, inputs // group, side, side)
        spread = 1 / np.sqrt(np.prod(shape[1:]))
        weight = self.constant(f"{name}.weight", self._rng.normal(0, spread, shape))
        bias = self.constant(f"{name}.bias", self._rng.normal(0, 0.1, outputs))
        attributes = {"pads": [side // 2] * 4, **attributes}
        return self.node("Conv", [x, weight, bias], f"{name}.out", **attributes)

    def relu(self, x: str) -> str:
        return self.node("Relu", [x], f"{x}.relu")

    def clip(self, x: str, low: float, high: float) -> str:
        if self.opset < 11:
            return self.node("Clip", [x], f"{x}.clipped", min=low, max=high)
        limits = [self.constant(f"{x}.low", low), self.constant(f"{x}.high", high)]
        return self.node("Clip", [x, *limits], f"{x}.clipped")

    def twice_as_large(self, x: str, mode: str = "linear") -> str:
        scales = self.constant(f"{x}.factors", [1, 1, 2, 2])
        op, inputs = ("Upsample", [x, scales]) if self.opset < 10 else ("Resize", [x, scales])
        if self.opset >= 11:
            inputs = [x, self.constant(f"{x}.roi", []), scales]
        return self.node(op, inputs, f"{x}.large", mode=mode)

    def with_axes(self, op: str, x: str, output: str, axes: list[int], **attributes: Any) -> str:
        """Add an operator whose axes became an input: of Squeeze in 13, of Reduce in 18."""
        if self.opset >= (13 if op in ("Squeeze", "Unsqueeze", "ReduceSum") else 18):
            name = self.constant(f"{output}.axes", axes, np.int64)
            return self.node(op, [x, name], output, **attributes)
        return self.node(op, [x], output, axes=axes, **attributes)

    def trunk(self, x: str) -> str:
        """Two convolutions and a pooling, (N, 3, H, W) to (N, 16, H/2, W/2)."""
        x = self.relu(self.conv(x, "net.stem.0", 3, CHANNELS))
        x = self.node("MaxPool", [x], "pooled", kernel_shape=[2, 2], strides=[2, 2])
        return self.relu(self.conv(x, "net.body.0", CHANNELS, CHANNELS))

    def head(self, x: str, map_name: str = "anomaly_map") -> str:
        """Add a softmax over channels, one map of it, and its maximum as score."""
        x = self.clip(self.conv(x, "net.mix.0", CHANNELS, CHANNELS), -3.0, 3.0)
        x = self.node("Softmax", [x], "shares", axis=1)
        x = self.conv(x, "net.head.0", CHANNELS, 1, side=1)
        self.twice_as_large(x)
        self.nodes[-1].output[0] = map_name
        self.score(map_name)
        return map_name

    def score(self, of: str) -> None:
        self.with_axes("ReduceMax", of, "pred_score", [1, 2, 3], keepdims=0)

    def model(
        self,
        sides: list[int | str],
        outputs: list[str],
        *,
        ir: int | None = None,
        kind: int = FLOAT,
        name: str = "input",
    ) -> ModelProto:
        opsets = [helper.make_opsetid("", self.opset)]
        ir = ir or helper.find_min_ir_version_for(opsets)
        initializers = [numpy_helper.from_array(v, n) for n, v in self.constants.items()]
        inputs = [helper.make_tensor_value_info(name, kind, sides)]
        if ir < 4:
            inputs += [
                helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in initializers
            ]
        graph = helper.make_graph(
            self.nodes, "theirs", inputs, [open_output(name) for name in outputs], initializers
        )
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir)


def open_output(name: str, kind: int = FLOAT) -> ValueInfoProto:
    """Declare an output without a shape, as many exporters do."""
    return helper.make_tensor_value_info(name, kind, None)
