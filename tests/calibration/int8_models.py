"""Small fp32 engines to calibrate, and folders of images to calibrate them with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_ad.cli import main
from edge_ad.images import write_image
from edge_ad.manifest import METADATA_KEY, Manifest

SIZE = 32
MANIFEST = Manifest(method="tiny", size_hw=(SIZE, SIZE))
Array = NDArray[np.float32]


class Tiny:
    """A stem, a residual block, a concatenation and a head, node by node.

    `outlier` scales one hidden channel of the block up and its reader down: nothing changes in
    fp32, while one step of int8 over the whole tensor swallows the other channels.
    """

    def __init__(self, *, outlier: float = 1.0, batch: int | None = 1, channels: int = 16) -> None:
        self._rng = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.batch = batch
        x = self._image()
        x = self.conv("stem.0.conv.weight", x, 3, channels, "stem")
        x = self.node("Relu", [x], "stem_relu")
        x = self.node("MaxPool", [x], "pooled", kernel_shape=[2, 2], strides=[2, 2])
        y = self._block(x, channels, outlier)
        z = self.node("Concat", [x, y], "joined", axis=1)
        z = self.conv("net.merge.0.weight", z, 2 * channels, channels, "merged")
        z = self.node("Relu", [z], "merged_relu")
        self._head(z, channels)

    def model(self, manifest: Manifest = MANIFEST) -> onnx.ModelProto:
        n = self.batch or "N"
        graph = helper.make_graph(
            self.nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, [n, SIZE, SIZE, 3])],
            [
                helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, [n, SIZE, SIZE]),
                helper.make_tensor_value_info("anomaly_score", TensorProto.FLOAT, [n]),
            ],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        manifest = manifest.replace(batch=self.batch)
        helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
        onnx.checker.check_model(model, full_check=True)
        return model

    def save(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(self.model(), path)
        return path

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], f"node_{output}", **attributes))
        return output

    def constant(self, name: str, value: object, kind: type[np.generic] = np.float32) -> str:
        self.constants[name] = np.asarray(value, kind)
        return name

    def conv(self, name: str, x: str, inputs: int, outputs: int, output: str, side: int = 3) -> str:
        spread = 1 / np.sqrt(inputs * side * side)
        weight = self._rng.normal(0, spread, (outputs, inputs, side, side))
        bias = self._rng.normal(0, 0.05, outputs)
        names = [self.constant(name, weight), self.constant(name.replace("weight", "bias"), bias)]
        return self.node("Conv", [x, *names], output, pads=[side // 2] * 4)

    def _image(self) -> str:
        x = self.node("Cast", ["image"], "floats", to=TensorProto.FLOAT)
        x = self.node("Transpose", [x], "planes", perm=[0, 3, 1, 2])
        x = self.node("Div", [x, self.constant("white", 127.5)], "scaled")
        return self.node("Sub", [x, self.constant("middle", 1.0)], "centred")

    def _block(self, x: str, channels: int, outlier: float) -> str:
        y = self.conv("net.block.conv1.weight", x, channels, channels, "block_a")
        y = self.node("Relu", [y], "block_a_relu")
        y = self.conv("net.block.conv2.weight", y, channels, channels, "block_b")
        if outlier != 1.0:
            for part in ("net.block.conv1.weight", "net.block.conv1.bias"):
                self.constants[part][0] *= outlier
            self.constants["net.block.conv2.weight"][:, 0] /= outlier
            self.constants["net.block.conv2.weight"] *= 4  # so that much depends on this block
        y = self.node("Add", [y, x], "block_sum")
        return self.node("Relu", [y], "block_out")

    def _head(self, x: str, channels: int) -> None:
        x = self.conv("net.head.0.weight", x, channels, 1, "logits", side=1)
        x = self.node("Sigmoid", [x], "probability")
        scales = self.constant("twice", [1, 1, 2, 2])
        x = self.node("Resize", [x, "", scales], "large", mode="linear")
        self.node("Squeeze", [x, self.constant("one", [1], np.int64)], "anomaly_map")
        axes = self.constant("sides", [1, 2], np.int64)
        self.node("ReduceMax", ["anomaly_map", axes], "anomaly_score", keepdims=0)


def images(folder: Path, count: int, *, seed: int = 0) -> Path:
    """Write a folder of clouded grey images, 40x40, of slightly different light."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        write_image(folder / f"{index:03}.png", part_image(rng))
    return folder


def part_image(rng: np.random.Generator) -> NDArray[np.uint8]:
    clouds = cv2.resize(rng.normal(0, 25, (6, 6)).astype(np.float32), (40, 40))
    grey = (clouds + rng.uniform(100, 150)).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def labelled(folder: Path, count: int, *, seed: int = 1) -> Path:
    """MVTec AD's layout: normal images, and as many with a bright square and its mask."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        write_image(folder / "test" / "good" / f"{index:03}.png", part_image(rng))
        spotted, mask = part_image(rng), np.zeros((40, 40), np.uint8)
        row, column = rng.integers(2, 28, 2)
        spotted[row : row + 9, column : column + 9] = 255
        mask[row : row + 9, column : column + 9] = 255
        write_image(folder / "test" / "spot" / f"{index:03}.png", spotted)
        write_image(folder / "ground_truth" / "spot" / f"{index:03}_mask.png", mask)
    return folder


def calibrate(*args: object) -> int:
    """Run `edge-ad calibrate` in this process and return its exit code."""
    before = sys.argv
    sys.argv = ["edge-ad", "calibrate", *(str(arg) for arg in args)]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0
