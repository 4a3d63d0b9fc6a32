"""Small graphs with the engine contract, and some that break it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser

from edge_ad.manifest import Manifest
from edge_ad.onnx_graph.load import set_manifest

_CAST_FIRST = "p = Cast <to = 1> (image) x = Transpose <perm = [0, 3, 1, 2]> (p)"
_TRANSPOSE_FIRST = "p = Transpose <perm = [0, 3, 1, 2]> (image) x = Cast <to = 1> (p)"


def graph(
    *,
    batch: int | None = 1,
    sides: str = "32,32",
    front: str = _CAST_FIRST,
    middle: str = "z = Relu (y)",
    score: str = "anomaly_score",
) -> onnx.ModelProto:
    """Return a graph of one convolution, map and maximum; `middle` computes `z` from `y`."""
    count = "N" if batch is None else str(batch)
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]>
        small (uint8[{count},{sides},3] image)
        => (float[{count},{sides}] anomaly_map, float[{count}] {score})
        <int64[1] one = {{1}}, int64[2] sides = {{1, 2}}>
        {{
            {front}
            [convolution] y = Conv <pads = [1, 1, 1, 1]> (x, w)
            [odd] {middle}
            anomaly_map = Squeeze (z, one)
            {score} = ReduceMax <keepdims = 0> (anomaly_map, sides)
        }}"""
    )
    weights = np.linspace(-0.01, 0.02, 27, dtype=np.float32).reshape(1, 3, 3, 3)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    set_manifest(model, Manifest(method="small", size_hw=(32, 32), batch=batch))
    return model


def transposing_first() -> onnx.ModelProto:
    return graph(front=_TRANSPOSE_FIRST)


def saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path
