"""A method small enough to export in a second, and a DeSTSeg with trained-like batch norms."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.cli import main
from edge_ad.export.onnx import _trace, onnx_from_module
from edge_ad.export.weight_storage import round_weights
from edge_ad.manifest import Manifest, Score
from edge_ad.methods.destseg.network import DeSTSeg, DeSTSegConfig
from edge_ad.methods.engine_graph import EngineGraph
from edge_ad.methods.method import Config, Method
from edge_ad.methods.registry import MethodEntry
from edge_ad.methods.weights import save_detector
from tests.torch_setup import make_torch_quick

make_torch_quick()
SIZE = (32, 48)


class TinyConfig(Config):
    """A configuration without fields."""


class Tiny(nn.Module):
    """Convolutions, a normalisation and a resize, as in real methods."""

    def __init__(self, config: TinyConfig, size_hw: tuple[int, int]) -> None:
        super().__init__()
        self.size_hw = size_hw
        self.first = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 16, 3, 1, 1)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.last = nn.Conv2d(8, 1, 1)

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(self.norm(self.first(rgb)))
        x = torch.relu(self.second(x))
        x = x * torch.rsqrt((x * x).sum(dim=1, keepdim=True) + 1e-6)
        x = torch.sigmoid(self.last(self.up(x)))
        anomaly_map = F.interpolate(x, size=self.size_hw, mode="bilinear")[:, 0]
        return anomaly_map, anomaly_map.flatten(1).topk(10, dim=1).values.mean(dim=1)


METHOD = Method(
    name="tiny", config=TinyConfig, build=Tiny, score=lambda config, size_hw: Score(top_k=10)
)
ENTRY = MethodEntry(
    name="tiny",
    title="Tiny",
    idea="two convolutions",
    needs="nothing",
    choose="tests",
    fidelity="exact",
    source="none",
    network=__name__,
    training="",
    parameter_prefix="first.",
)


def tiny_manifest(batch: int | None = 1) -> Manifest:
    return Manifest(method="tiny", size_hw=SIZE, batch=batch, score=Score(top_k=10))


def tiny_module(seed: int = 0) -> Tiny:
    torch.manual_seed(seed)
    module = Tiny(TinyConfig(), SIZE).eval()
    _randomize_batch_norms(module)
    return module


def tiny_graph(batch: int | None = 1, *, rounded: bool = False) -> onnx.ModelProto:
    """Return the graph of `tiny_module`, of weights on the 8-bit grid when `rounded`.

    Each is traced once per session; the caller may change its copy.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(_traced(batch, rounded=rounded))
    return copy


@cache
def _traced(batch: int | None, *, rounded: bool) -> onnx.ModelProto:
    module = round_weights(tiny_module()) if rounded else tiny_module()
    return onnx_from_module(EngineGraph(module), tiny_manifest(batch))


def trace_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace modules with the same weights and batch once per session; exports go on from a copy."""

    def traced(module: nn.Module, manifest: Manifest) -> onnx.ModelProto:
        state = b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values())
        key = (hashlib.sha256(state).hexdigest(), manifest.batch)
        if key not in _traces:
            _traces[key] = _trace(module, manifest)
        copy = onnx.ModelProto()
        copy.CopyFrom(_traces[key])
        return copy

    monkeypatch.setattr("edge_ad.export.onnx._trace", traced)


_traces: dict[tuple[str, int | None], onnx.ModelProto] = {}


def save_tiny(path: Path, seed: int = 0) -> Path:
    """Save weights of the method `tiny`, which a test must add to METHODS to load."""
    save_detector(path, tiny_module(seed), tiny_manifest(), TinyConfig())
    return path


def save_destseg(path: Path, size: int = 32, width: float = 0.125) -> Path:
    """Save untrained DeSTSeg weights."""
    torch.manual_seed(0)
    config = DeSTSegConfig(width=width, top_k=10)
    module = DeSTSeg(config, (size, size)).eval()
    _randomize_batch_norms(module)
    manifest = Manifest(method="destseg", size_hw=(size, size), score=Score(top_k=10))
    save_detector(path, module, manifest, config)
    return path


def run(*words: object) -> int:
    """Run `edge-ad WORDS` and return its exit code."""
    before = sys.argv
    sys.argv = ["edge-ad", *(str(word) for word in words)]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def _randomize_batch_norms(module: nn.Module) -> None:
    """Set batch norms as after training: neither identities nor all of one sign."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(0, 0.2)
