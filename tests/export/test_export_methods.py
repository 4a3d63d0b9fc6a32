"""Every method's light preset compiles with TensorRT-RTX, in fp32 and in fp16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edge_ad.engine import open_engine
from edge_ad.export.build import build_plan
from edge_ad.export.metadata import set_manifest
from edge_ad.export.mixed import mixed_from_fp32
from edge_ad.export.to_onnx import onnx_from_module
from edge_ad.manifest import Manifest
from edge_ad.models.graph import EngineGraph
from edge_ad.models.method import method_named
from edge_ad.models.resnet import ResNet18
from edge_ad.plan import Options
from edge_ad.train.recipe import recipe_named, settings_from

SIZE = (64, 64)
LIGHT: dict[str, dict[str, Any]] = {
    "destseg": {"width": 0.125},
    "draem": {"rec_base": 8, "seg_base": 8},
    "clflow": {"flow_steps": 2},
    "ear": {"widths": (8, 16, 16, 32, 32)},
    "pmb": {"widths": (8, 8, 16, 16), "bottleneck": 16, "items": 8},
}
ONE_CARD = Options(compute_capabilities=("8.9",))


@pytest.mark.slow
@pytest.mark.parametrize("method", LIGHT)
def test_a_method_compiles_in_fp32_and_fp16(method: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    net = _network(method, tmp_path)
    manifest = Manifest(method=method, size_hw=SIZE, score=method_named(method).score(net.config))
    model = onnx_from_module(EngineGraph(net), manifest)
    _builds(model, manifest, tmp_path / "fp32.onnx")
    images = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)
    half = mixed_from_fp32(model, images, manifest).model
    halved = manifest.model_copy(update={"precision": "fp16"})
    set_manifest(half, halved)
    path = _builds(half, halved, tmp_path / "fp16.onnx")
    with open_engine(path) as engine:
        answer = engine.infer(images)
        assert np.isfinite(answer.maps).all() and np.isfinite(answer.scores).all()


def _builds(model: onnx.ModelProto, manifest: Manifest, path: Path) -> Path:
    onnx.save(model, path)
    built = build_plan(path, path.with_suffix(".plan"), ONE_CARD, flavour="tensorrt-rtx")
    assert built.sidecar.manifest == manifest
    return path


def _network(method: str, folder: Path) -> Any:
    """Untrained, at the light preset's shape, made smaller."""
    torch.manual_seed(0)
    teacher = folder / "resnet18.pth"
    torch.save(ResNet18((64, 128, 256)).state_dict(), teacher)
    recipe = recipe_named(method)
    preset = "edge" if "edge" in recipe.presets else None
    trainer = recipe.trainer(settings_from(recipe, LIGHT[method], preset), SIZE, teacher)
    return trainer.module.eval()
