"""Makes the tiny engines beside this file: python tests/engines/make_green.py

Each answers with the image's green channel over 255 as its map and the maximum as its score, so a
test can draw the anomaly it wants to be found. The mean engine's score is the mean instead, which
differs between images as a detector's does; the maximum takes 256 values.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_ad.manifest import METADATA_KEY, Manifest

HERE = Path(__file__).resolve().parent
ENGINES: list[tuple[int, int | None]] = [(32, 1), (32, 3), (32, None), (16, 1)]


def green_model(side: int, batch: int | None, reduction: str = "ReduceMax") -> onnx.ModelProto:
    """uint8 (batch, side, side, 3) -> map and score, opset 18; batch None is dynamic."""
    manifest = Manifest(method="green", size_hw=(side, side), batch=batch)
    images = "batch" if batch is None else batch
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["pixels", "green"], ["plane"], axis=3),
        helper.make_node("Div", ["plane", "full"], ["anomaly_map"]),
        helper.make_node(reduction, ["anomaly_map", "axes"], ["anomaly_score"], keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(np.array(1), "green"),
        numpy_helper.from_array(np.array(255, np.float32), "full"),
        numpy_helper.from_array(np.array([1, 2]), "axes"),
    ]
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "green",
        [tensor("image", TensorProto.UINT8, [images, side, side, 3])],
        [
            tensor("anomaly_map", TensorProto.FLOAT, [images, side, side]),
            tensor("anomaly_score", TensorProto.FLOAT, [images]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    return model


if __name__ == "__main__":
    for side, batch in ENGINES:
        onnx.save(green_model(side, batch), HERE / f"green-{side}-b{batch or 'any'}.onnx")
    onnx.save(green_model(32, 1, "ReduceMean"), HERE / "mean-32-b1.onnx")
