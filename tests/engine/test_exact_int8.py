"""Int8 products on processors without VNNI, which would add them in 16 bits."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_ad.engine import thread_variants

QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
X86 = platform.machine() == "x86_64"
CHANNELS = 32
SESSION = """
import sys
import numpy as np, onnxruntime
from edge_ad.engine import thread_variants

thread_variants.adds_int8_exactly = lambda: sys.argv[2] == "exact"  # /proc is this machine's
session = onnxruntime.InferenceSession(sys.argv[1], thread_variants.session_options(1))
image = np.full((1, 32, 4, 4), 0.95, np.float32)
print(session.run(None, {"image": image})[0].max())
"""


@pytest.mark.skipif(not X86, reason="only x86 processors add products of 8 bits in 16 bits")
@pytest.mark.parametrize("exact", [True, False])
def test_the_kernels_are_chosen_by_the_processor(
    monkeypatch: pytest.MonkeyPatch, *, exact: bool
) -> None:
    monkeypatch.setattr(thread_variants, "adds_int8_exactly", lambda: exact)
    key = "session.x64quantprecision"
    options = thread_variants.session_options()
    if exact:
        with pytest.raises(RuntimeError, match=key):
            options.get_session_config_entry(key)
    else:
        assert options.get_session_config_entry(key) == "1"


@pytest.mark.slow
@pytest.mark.skipif(not X86, reason="only x86 processors add products of 8 bits in 16 bits")
@pytest.mark.skipif(QEMU is None, reason="qemu-user-static is not installed")
@pytest.mark.parametrize("signed", [True, False])
def test_a_processor_without_vnni_gives_the_same_sums(tmp_path: Path, *, signed: bool) -> None:
    """Every sum of this layer is beyond 16 bits; qemu's Haswell has AVX2 and no VNNI."""
    layer = tmp_path / "layer.onnx"
    write_layer(layer, signed=signed)
    expected = 9 * CHANNELS * 0.95
    assert emulated(layer, "exact") < expected * 0.6  # what the option is for
    assert emulated(layer, "widened") == pytest.approx(expected, rel=0.01)


def emulated(layer: Path, kernels: str) -> float:
    assert QEMU is not None
    command = [QEMU, "-cpu", "Haswell", sys.executable, "-c", SESSION, str(layer), kernels]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def write_layer(path: Path, *, signed: bool) -> None:
    """Write a 3x3 convolution in int8 whose weights are all at the end of their range."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, np.int8 if signed else np.uint8
    step = 1 / np.iinfo(kind).max
    constants = {
        "in_step": np.float32(step),
        "out_step": np.float32(9 * CHANNELS * step),
        "zero": kind(0),
        "weights": np.full((16, CHANNELS, 3, 3), 127, np.int8),
        "weight_steps": np.full(16, 1 / 127, np.float32),
        "weight_zeros": np.zeros(16, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "in_step", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "in_step", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["weights", "weight_steps", "weight_zeros"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["y", "out_step", "zero"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "out_step", "zero"], ["sums"]),
    ]
    nodes[2].attribute.append(helper.make_attribute("axis", 0))
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, CHANNELS, 4, 4])],
        [helper.make_tensor_value_info("sums", onnx.TensorProto.FLOAT, [1, 16, 4, 4])],
        [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
