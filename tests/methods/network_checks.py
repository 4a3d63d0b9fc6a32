"""What every method's network is tested for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edge_ad.engine import Prediction, open_engine
from edge_ad.export.onnx import onnx_from_module
from edge_ad.frame import Image
from edge_ad.inspection import rescore
from edge_ad.manifest import Manifest, Score
from edge_ad.methods.engine_graph import EngineGraph

SIZE = (64, 96)


def millions(module: nn.Module) -> float:
    """Parameters, in millions."""
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def gflops(module: nn.Module, size_hw: tuple[int, int] = (256, 256), channels: int = 3) -> float:
    """Multiplications and additions of convolutions and matrix products for one image."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(torch.zeros(1, channels, *size_hw))
    return float(counter.get_total_flops() / 1e9)


def frames(count: int, size_hw: tuple[int, int] = SIZE, seed: int = 0) -> Image:
    """Random images uint8 (count, H, W, 3), smooth with noise and a bright square each."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 120, (count, *size_hw, 3))
    images[:, 8:20, 8:24] = 250
    return images.astype(np.uint8)


def torch_answer(net: nn.Module, images: Image) -> Prediction:
    with torch.inference_mode():
        maps, scores = EngineGraph(net).eval()(torch.from_numpy(images))
    return Prediction(maps.numpy(), scores.numpy())


def onnx_answer(net: nn.Module, images: Image, folder: Path) -> tuple[Prediction, Counter[str]]:
    """Return the exported graph's output in ONNX Runtime, and a count of its operators."""
    size_hw = (images.shape[1], images.shape[2])
    manifest = Manifest(method="destseg", size_hw=size_hw, batch=1)
    model = onnx_from_module(EngineGraph(net), manifest)
    path = folder / "engine.onnx"
    onnx.save(model, path)
    with open_engine(path) as engine:
        answer = engine.infer(images)
        copied = Prediction(answer.maps.copy(), answer.scores.copy())
    return copied, Counter(node.op_type for node in model.graph.node)


def check_contract(net: nn.Module, score: Score) -> None:
    """Shapes, finite numbers, determinism, and a score that the line can compute again."""
    images = frames(3)
    first, second = torch_answer(net, images), torch_answer(net, images)
    assert first.maps.shape == (3, *SIZE) and first.scores.shape == (3,)
    assert np.isfinite(first.maps).all() and np.isfinite(first.scores).all()
    assert (first.maps == second.maps).all() and (first.scores == second.scores).all()
    nothing = np.zeros((1, *SIZE), np.bool_)
    again = [rescore(values[None], nothing, score) for values in first.maps]
    np.testing.assert_allclose(again, first.scores, rtol=1e-4, atol=1e-6)


def check_parity(net: nn.Module, folder: Path, *, tolerance: float = 1e-5) -> Counter[str]:
    """ONNX Runtime answers as torch does; returns how often each operator is in the graph."""
    images = frames(2)
    ours = torch_answer(net, images)
    theirs, operators = onnx_answer(net, images, folder)
    np.testing.assert_allclose(theirs.maps, ours.maps, atol=tolerance)
    np.testing.assert_allclose(theirs.scores, ours.scores, atol=tolerance)
    return operators


def shaken(net: nn.Module, *, seed: int = 0, by: float = 0.05) -> nn.Module:
    """Move the network's parameters and running statistics off their round first values."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(by * torch.randn_like(parameter))
        for name, buffer in net.named_buffers():
            if name.endswith("running_var"):
                buffer.mul_(torch.rand_like(buffer) + 0.5)
    return net.eval()
