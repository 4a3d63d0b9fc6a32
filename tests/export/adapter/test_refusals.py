"""What `import` cannot bring to one form is refused by name, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.conftest import invoke
from tests.export.adapter.foreign_graphs import SIZE, external_data
from tests.export.adapter.foreign_net import Net, open_output

ANOMALIB = ["--adapter", "anomalib"]
Sides = list[int | str]


def _net(*, sides: Sides | None = None, kind: int = TensorProto.FLOAT) -> Callable[..., Path]:
    """Return a function that lets a test change a sound graph and writes it."""

    def make(change: Callable[[Net], None], path: Path) -> Path:
        net = Net(17)
        net.head(net.trunk("input"))
        change(net)
        shape: Sides = sides or [1, 3, SIZE, SIZE]
        onnx.save(net.model(shape, ["anomaly_map", "pred_score"], kind=kind), path)
        return path

    return make


def _foreign_domain(net: Net) -> None:
    net.nodes[1].op_type, net.nodes[1].domain = "QuickGelu", "com.microsoft"


def _random(net: Net) -> None:
    net.nodes[1].op_type = "RandomUniformLike"


def _quantized(net: Net) -> None:
    output = net.nodes[0].output[0]
    net.node("QuantizeLinear", [output, net.constant("step", 0.1)], "levels")
    net.node("DequantizeLinear", ["levels", "step"], "again")
    net.nodes[1].input[0] = "again"
    net.nodes[1:] = [*net.nodes[-2:], *net.nodes[1:-2]]


def _branch(net: Net) -> None:
    """Let the sign of the largest value decide which of two operators runs."""
    output, before = net.nodes[0].output[0], len(net.nodes)
    net.node("ReduceMax", [output], "largest", keepdims=0)
    net.node("Greater", ["largest", net.constant("zero", 0.0)], "positive")
    ways = [
        onnx.helper.make_graph(
            [onnx.helper.make_node(op, [output], [f"{op}.y"])], op, [], [open_output(f"{op}.y")]
        )
        for op in ("Identity", "Neg")
    ]
    net.node("If", ["positive"], "chosen", then_branch=ways[0], else_branch=ways[1])
    net.nodes[1].input[0] = "chosen"
    net.nodes[1:] = [*net.nodes[before:], *net.nodes[1:before]]


def _two_maps(net: Net) -> None:
    net.nodes[-1].input[0] = "both"
    net.nodes[-2].output[0] = "single"
    net.nodes.insert(-1, onnx.helper.make_node("Concat", ["single"] * 2, ["both"], axis=1))
    net.node("Identity", ["both"], "anomaly_map")


def _not_finite(net: Net) -> None:
    net.constants["net.head.0.bias"] = np.array([np.nan], np.float32)


def _nothing(net: Net) -> None:
    """Leave the graph as it is."""


@pytest.mark.parametrize(
    ("make", "change", "options", "code", "message"),
    [
        (_net(), _foreign_domain, ANOMALIB, 3, "is com.microsoft.QuickGelu, which TensorRT"),
        (_net(), _random, ANOMALIB, 3, "(RandomUniformLike) is random"),
        (_net(), _quantized, ANOMALIB, 3, "(QuantizeLinear) is quantized already"),
        (_net(), _branch, ANOMALIB, 3, "(If) is a branch or loop that its input decides"),
        (_net(), _two_maps, ANOMALIB, 3, "expected one map an image"),
        (_net(), _not_finite, ANOMALIB, 3, "contain NaN or Inf"),
        (_net(sides=[1, 4, SIZE, SIZE]), _nothing, ANOMALIB, 3, "no axis of 1 or 3 channels"),
        (_net(sides=[1, 3, "h", "w"]), _nothing, ANOMALIB, 2, "leaves height or width open"),
        (_net(sides=[1, 3, SIZE, 3]), _nothing, ANOMALIB, 2, "say which with --layout"),
        (_net(), _nothing, [*ANOMALIB, "--layout", "nhwc"], 2, "means 32 channels"),
        (_net(), _nothing, [*ANOMALIB, "--size", "64"], 2, "takes 32x32 (height x width)"),
        (_net(), _nothing, [*ANOMALIB, "--batch", "4"], 2, "takes 1 images a call"),
        (_net(), _nothing, [*ANOMALIB, "--std", "0"], 2, "it cannot be 0"),
        (_net(kind=TensorProto.UINT8), _nothing, ANOMALIB, 2, "takes whole numbers (uint8)"),
        (_net(kind=TensorProto.BOOL), _nothing, ANOMALIB, 3, "takes bool; expected float32"),
    ],
)
def test_it_says_why(
    make: Callable[..., Path],
    change: Callable[[Net], None],
    options: list[str],
    code: int,
    message: str,
    tmp_path: Path,
) -> None:
    path = make(change, tmp_path / "theirs.onnx")
    done = invoke("import", path, "-o", tmp_path / "part.onnx", *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert str(path) in done.stderr or code == 2
    assert [file.name for file in tmp_path.iterdir()] == ["theirs.onnx"]


def test_data_that_was_not_copied_along_is_named(tmp_path: Path) -> None:
    path = tmp_path / "theirs.onnx"
    external_data(path)
    path.with_name("theirs.onnx.data").unlink()
    done = invoke("import", path, "-o", tmp_path / "part.onnx", *ANOMALIB)
    assert done.returncode == 2
    assert "keeps its weights in another file, 'theirs.onnx.data'" in done.stderr


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_file_that_was_cut_off_says_how_long_it_should_be(tmp_path: Path, share: float) -> None:
    path = _net()(_nothing, tmp_path / "theirs.onnx")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    done = invoke("import", path, "-o", tmp_path / "part.onnx", *ANOMALIB)
    assert done.returncode == 3
    assert f"got {int(len(data) * share)}: it was cut off" in done.stderr
