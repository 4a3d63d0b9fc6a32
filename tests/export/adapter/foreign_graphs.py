"""Small graphs as other people's exporters write them, for opsets 9 to 25."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from tests.export.adapter.foreign_net import CHANNELS, FLOAT, Net, open_output

SIZE = 32
Make: TypeAlias = Callable[[Path], list[str]]  # writes a file, returns options of `import`
_IMAGENET = ["--scale", "0.00392157", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
_FROM_0_TO_1 = ["--scale", "0.00392157"]


def _saved(model: ModelProto, path: Path, options: list[str]) -> list[str]:
    onnx.save(model, path)
    return options


def at_opset(opset: int, batch: int | str = 1, ir: int | None = None) -> Make:
    """Make a graph whose every operator changed between opsets 9 and 25."""

    def make(path: Path) -> list[str]:
        net = Net(opset)
        net.head(net.trunk("input"))
        sides: list[int | str] = [batch, 3, SIZE, SIZE]
        model = net.model(sides, ["anomaly_map", "pred_score"], ir=ir)
        return _saved(model, path, ["--adapter", "anomalib"])

    return make


def named_like_ours(path: Path) -> list[str]:
    """Names that later steps add themselves, with blanks, twice, or none at all."""
    net = Net()
    net.head(net.trunk("input"))
    model = net.model([1, 3, SIZE, SIZE], ["anomaly_map", "pred_score"])
    new = {
        "net.body.0.weight": "pooled.scale",
        "net.body.0.bias": "pooled.zero_point",
        "net.mix.0.weight": "pooled.fp16",
        "net.mix.0.bias": "image",
        "shares": "anomaly_score",
        "net.stem.0.out": "a name, with blanks [and more]",
    }
    for node in model.graph.node:
        node.name = "same"
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]
    for tensor in model.graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    return _saved(model, path, ["--adapter", "anomalib"])


def external_data(path: Path) -> list[str]:
    net = Net(18)
    net.head(net.trunk("input"))
    model = net.model(["n", 3, SIZE, SIZE], ["anomaly_map", "pred_score"])
    onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data",
              size_threshold=64)  # fmt: skip
    return ["--adapter", "anomalib"]


def float16(path: Path) -> list[str]:
    return _in_type(path, TensorProto.FLOAT16, np.float16)


def float64(path: Path) -> list[str]:
    return _in_type(path, TensorProto.DOUBLE, np.float64)


def _in_type(path: Path, kind: int, numpy_kind: type[np.generic]) -> list[str]:
    """Write a graph whose inputs, weights and outputs are of another float type."""
    net = Net(17)
    x = net.trunk("input")
    x = net.conv(x, "net.head.0", CHANNELS, 1, side=1)
    net.node("Sigmoid", [x], "heat")
    for name in [name for name in net.constants if name.endswith(("weight", "bias"))]:
        net.constants[name] = net.constants[name].astype(numpy_kind)
    model = net.model([1, 3, SIZE, SIZE], ["heat"], kind=kind)
    model.graph.output[0].type.tensor_type.elem_type = kind
    return _saved(model, path, [*_FROM_0_TO_1, "--color", "bgr"])


def channels_last(path: Path) -> list[str]:
    """tf2onnx's habit: NHWC outside, Transpose to and fro, names with colons."""
    net = Net(15)
    x = net.node("Transpose", ["serving_default_input:0"], "nchw:0", perm=[0, 3, 1, 2])
    x = net.conv(net.trunk(x), "net.head.0", CHANNELS, 1, side=1)
    x = net.twice_as_large(x, "nearest")
    net.node("Transpose", [x], "Identity:0", perm=[0, 2, 3, 1])
    model = net.model(["unk__1", SIZE, SIZE, 3], ["Identity:0"], name="serving_default_input:0")
    return _saved(model, path, _IMAGENET)


def whole_numbers(path: Path) -> list[str]:
    """Write a graph with a uint8 NHWC input, transposed before its cast, and a map (N, H, W)."""
    net = Net(13)
    x = net.node("Transpose", ["input"], "planes", perm=[0, 3, 1, 2])
    x = net.node("Cast", [x], "floats", to=FLOAT)
    x = net.node("Div", [x, net.constant("white", 255.0)], "scaled")
    x = net.conv(net.trunk(x), "net.head.0", CHANNELS, 1, side=1)
    x = net.twice_as_large(x)
    net.with_axes("Squeeze", x, "heat", [1])
    model = net.model(["n", SIZE, SIZE, 3], ["heat"], kind=TensorProto.UINT8)
    return _saved(model, path, ["--color", "bgr"])


def one_channel(path: Path) -> list[str]:
    net = Net(17)
    x = net.node("Concat", ["input"] * 3, "three", axis=1)
    net.head(net.trunk(x))
    model = net.model([2, 1, SIZE, SIZE], ["anomaly_map", "pred_score"])
    return _saved(model, path, ["--adapter", "anomalib", "--mean", "0.5", "--std", "0.5"])


def half_size_map(path: Path) -> list[str]:
    net = Net(17)
    net.conv(net.trunk("input"), "net.head.0", CHANNELS, 1, side=1)
    model = net.model(["n", 3, SIZE, SIZE], ["net.head.0.out"])
    return _saved(model, path, _IMAGENET)


def open_sizes(path: Path) -> list[str]:
    """Batch, height and width open; the map's size is computed from the input's."""
    net = Net(17)
    x = net.conv(net.trunk("input"), "net.head.0", CHANNELS, 1, side=1)
    shape = net.node("Shape", ["input"], "shape")
    sides = net.node("Slice", [shape, net.constant("two", [2], np.int64),
                     net.constant("four", [4], np.int64)], "sides")  # fmt: skip
    head = net.node("Slice", [net.node("Shape", [x], "small"), net.constant("zero", [0], np.int64),
                    "two"], "head")  # fmt: skip
    full = net.node("Concat", [head, sides], "full", axis=0)
    net.node("Resize", [x, "", "", full], "anomaly_map", mode="linear")
    net.score("anomaly_map")
    model = net.model(["n", 3, "h", "w"], ["anomaly_map", "pred_score"])
    return _saved(model, path, ["--adapter", "anomalib", "--size", f"{SIZE}x{SIZE}"])


def no_batch_axis(path: Path) -> list[str]:
    net = Net(17)
    x = net.with_axes("Unsqueeze", "input", "one", [0])
    x = net.conv(net.trunk(x), "net.head.0", CHANNELS, 1, side=1)
    x = net.twice_as_large(x)
    net.with_axes("Squeeze", x, "heat", [0, 1])
    return _saved(net.model([3, SIZE, SIZE], ["heat"]), path, _FROM_0_TO_1)


def mixes_its_batch(path: Path) -> list[str]:
    """Write a graph that says any number of images and scores each by the maximum of all."""
    net = Net(17)
    net.head(net.trunk("input"))
    net.nodes.pop()
    worst = net.with_axes("ReduceMax", "anomaly_map", "worst", [0, 1, 2, 3], keepdims=0)
    zero = net.node("Mul", [net.with_axes("ReduceMin", "anomaly_map", "least", [1, 2, 3],
                    keepdims=0), net.constant("nothing", 0.0)], "zero")  # fmt: skip
    net.node("Add", [zero, worst], "pred_score")
    model = net.model(["n", 3, SIZE, SIZE], ["anomaly_map", "pred_score"])
    return _saved(model, path, ["--adapter", "anomalib"])


def principal_components(path: Path) -> list[str]:
    """As converted from scikit-learn: a mean, two matrix products, a squared difference."""
    net = Net(12)
    rng = np.random.default_rng(5)
    basis = np.linalg.qr(rng.normal(size=(4 * SIZE, 24)))[0].astype(np.float32)
    rows = net.node("Reshape", ["X", net.constant("rows", [-1, 4 * SIZE], np.int64)], "flat")
    rows = net.node("Sub", [rows, net.constant("mean_", 0.4 * np.ones(4 * SIZE))], "centred")
    codes = net.node("MatMul", [rows, net.constant("components_T", basis)], "codes")
    back = net.node(
        "Gemm", [codes, net.constant("components_", basis), net.constant("shift", 0.01)],
        "back", transB=1, alpha=1.0, beta=0.5,
    )  # fmt: skip
    error = net.node("Sub", [back, rows], "error")
    squared = net.node("Mul", [error, error], "squared")
    blocks = net.constant("blocks", [-1, 1, SIZE, SIZE], np.int64)
    net.node("Reshape", [squared, blocks], "heat")
    net.with_axes("ReduceMean", "heat", "score", [1, 2, 3], keepdims=0)
    model = net.model(["n", 1, SIZE, SIZE], ["heat", "score"], name="X")
    return _saved(model, path, [*_FROM_0_TO_1, "--map-output", "heat", "--score-output", "score"])


def local_function(path: Path) -> list[str]:
    """Use a function of another domain, a branch that is decided, and outputs nobody needs."""
    net = Net(17)
    x = net.trunk("input")
    net.node("Swish", [x], "swish")
    net.nodes[-1].domain = "theirs"
    branches = [
        helper.make_graph(
            [helper.make_node(op, ["swish"], [f"{op}.y"])], op, [], [open_output(f"{op}.y")]
        )
        for op in ("Identity", "Neg")
    ]
    net.node("If", [net.constant("yes", 1, np.bool_)], "chosen",
             then_branch=branches[0], else_branch=branches[1])  # fmt: skip
    net.head("chosen")
    net.node("Neg", ["anomaly_map"], "unused")
    model = net.model([1, 3, SIZE, SIZE], ["unused", "anomaly_map", "pred_score"])
    body = [
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["c"]),
    ]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("theirs", "Swish", ["a"], ["c"], body, opsets))
    model.opset_import.append(helper.make_opsetid("theirs", 1))
    model.ir_version = 8
    return _saved(model, path, ["--adapter", "anomalib"])


def corners(path: Path) -> list[str]:
    """Dead filters, shared weights, large biases, groups, transposed convolution, constants."""
    net = Net(17)
    x = net.trunk("input")
    net.constants["net.body.0.weight"][3] = 0.0
    net.constants["net.body.0.bias"][3] = 4.2
    net.constants["net.body.0.weight"][5] *= 1e-6
    net.constants["net.body.0.bias"][5] = -50.0
    net.conv(x, "net.again.0", CHANNELS, CHANNELS)
    net.nodes[-1].input[1] = "net.body.0.weight"
    x = net.relu("net.again.0.out")
    x = net.conv(x, "net.deep.0", CHANNELS, CHANNELS, group=CHANNELS)
    x = net.conv(x, "net.grouped.0", CHANNELS, CHANNELS, group=2)
    x = net.node("Mul", [x, net.constant("none", 0.0)], "nothing")
    x = net.node("Add", [x, net.constant("level", 2.5)], "constant")
    x = net.node("Add", [net.conv(x, "net.flat.0", CHANNELS, CHANNELS), "net.again.0.out.relu"],
                 "summed")  # fmt: skip
    weight = np.random.default_rng(1).normal(0, 0.2, (CHANNELS, CHANNELS // 2, 2, 2))
    names = [net.constant("net.up.0.weight", weight), net.constant("net.up.0.bias", np.ones(16))]
    x = net.node("ConvTranspose", [x, *names], "up", strides=[2, 2], group=2)
    x = net.conv(x, "net.last.0", CHANNELS, 1, side=1)
    net.node("Sigmoid", [x], "heat")
    return _saved(net.model(["n", 3, SIZE, SIZE], ["heat"]), path, _FROM_0_TO_1)


def torch_export(opset: int, *, dynamo: bool) -> Make:
    """Make a graph by torch's own exporters."""

    def make(path: Path) -> list[str]:
        import torch
        from torch import Tensor, nn

        class Theirs(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.SiLU())
                self.body = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.GroupNorm(4, 16))
                self.head = nn.Conv2d(16, 1, 1)

            def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
                y = self.head(self.body(self.stem(x)).relu())
                y = nn.functional.interpolate(y, size=x.shape[-2:], mode="bilinear")
                return y, y.flatten(1).amax(dim=1)

        images = torch.zeros(2, 3, SIZE, SIZE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Theirs().eval(),
                (images,),
                str(path),
                input_names=["input"],
                output_names=["anomaly_map", "pred_score"],
                opset_version=opset,
                dynamo=dynamo,
                **(
                    {"dynamic_shapes": {"x": {0: "n"}}, "verbose": False}
                    if dynamo
                    else {"dynamic_axes": {"input": {0: "n"}}}
                ),
            )
        return ["--adapter", "anomalib"]

    return make


GRAPHS: dict[str, Make] = {
    "opset 9, IR 3": at_opset(9, "n", ir=3),
    **{f"opset {opset}": at_opset(opset, "n" if opset % 2 else 2) for opset in range(10, 26)},
    "names": named_like_ours,
    "external data": external_data,
    "float16": float16,
    "float64": float64,
    "channels last": channels_last,
    "uint8": whole_numbers,
    "one channel": one_channel,
    "half-size map": half_size_map,
    "open sizes": open_sizes,
    "no batch axis": no_batch_axis,
    "mixes its batch": mixes_its_batch,
    "principal components": principal_components,
    "function, branch": local_function,
    "corners": corners,
    "torchscript 11": torch_export(11, dynamo=False),
    "torchscript 17": torch_export(17, dynamo=False),
    "dynamo 18": torch_export(18, dynamo=True),
    "dynamo 20": torch_export(20, dynamo=True),
}
