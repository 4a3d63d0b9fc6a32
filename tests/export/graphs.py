"""Small graphs in ONNX's text form, for tests that change graphs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray

from edge_ad.engine import Prediction, open_engine
from edge_ad.frame import Image
from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.load import set_manifest

HW = (8, 8)
MANIFEST = Manifest(method="drawn", size_hw=HW)

_HEAD = '<ir_version: 8, opset_import: ["" : 18]> drawn '
_SIGNATURE = (
    "(uint8[1,8,8,3] image) => (float[1,8,8] anomaly_map, float[1] anomaly_score) "
    "<float tiny = {1e-12}, float large = {100000.0}, "
    "float one = {1.0}, int64[1] axis = {1}, int64[2] axes = {1, 2}> "
)
_FRONT = "pixels = Cast <to = 1> (image) planes = Transpose <perm = [0, 3, 1, 2]> (pixels) "
_BACK = (
    "last = Conv (z, v) anomaly_map = Squeeze (last, axis) "
    "anomaly_score = ReduceMax <keepdims = 0> (anomaly_map, axes) "
)
WEIGHTS = {"w": (16, 3), "k": (16, 16), "v": (1, 16), "to_image": (3, 16), "from_two": (16, 6)}


def drawn(middle: str, *, weight: float = 0.01) -> onnx.ModelProto:
    """Return a contract graph; `middle` computes `z` float[1,16,8,8] from `c`, the second layer.

    Constants for it: `tiny`, `large` and `one`, `axis`, and weights of 1x1 layers: `k` for 16
    channels, `to_image` from 16 to 3, `from_two` from 6 to 16.
    """
    first = "f = Conv (planes, w) c = Conv (f, k) "
    model = onnx.parser.parse_model(f"{_HEAD}{_SIGNATURE}{{ {_FRONT}{first}{middle} {_BACK} }}")
    for name, sides in WEIGHTS.items():
        if not any(name in node.input for node in model.graph.node):
            continue
        shape = (*sides, 1, 1)
        values = np.linspace(-weight, 2 * weight, math.prod(shape), dtype=np.float32)
        tensor = onnx.numpy_helper.from_array(values.reshape(shape), name)
        model.graph.initializer.append(tensor)
    set_manifest(model, MANIFEST)
    return model


def infer(model: onnx.ModelProto, frames: Image, folder: Path) -> Prediction:
    """Run a model in ONNX Runtime."""
    path = folder / "drawn.onnx"
    onnx.save(model, path)
    with open_engine(path) as engine:
        return engine.infer(frames)


def operators(model: onnx.ModelProto) -> list[str]:
    """Return the operators of a graph in order."""
    return [node.op_type for node in model.graph.node]


def constant(model: onnx.ModelProto, name: str) -> NDArray[Any]:
    """Return the values of an initializer."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    return np.asarray(onnx.numpy_helper.to_array(tensors[name]))
