"""Every method compiles with TensorRT-RTX, in fp32, fp16 and int8: light, and at full size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch

from edge_ad.engine import open_engine
from edge_ad.export.fp16.convert import mixed_from_fp32
from edge_ad.export.onnx import onnx_from_module
from edge_ad.export.plan.build import build_plan
from edge_ad.manifest import Manifest
from edge_ad.methods.engine_graph import EngineGraph
from edge_ad.methods.layers.backbone import Backbone, build_trunk
from edge_ad.methods.learning.parse import parse_settings
from edge_ad.methods.learning.trainer import load_training
from edge_ad.methods.method import load_method
from edge_ad.methods.registry import METHODS
from edge_ad.onnx_graph.load import load_model, set_manifest
from edge_ad.plan_record import BuildOptions
from tests.export.models import run
from tests.golden.golden_formula import state_of

LIGHT: dict[str, dict[str, Any]] = {
    "destseg": {"network.width": 0.25},
    "draem": {"network.rec_base": 8, "network.seg_base": 8},
    "clflow": {"network.flow_steps": 2},
    "ear": {"network.widths": (8, 16, 16, 32, 32)},
    "pmb": {"network.widths": (8, 16, 16, 16), "network.bottleneck": 16, "network.items": 8},
}
ONE_CARD = BuildOptions(compute_capabilities=("8.9",))
SIDE = {"light": 64, "full": 256}

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_light_network_compiles_in_every_precision(method: str, tmp_path: Path) -> None:
    _compiles(_light(method, "resnet18", tmp_path), method, SIDE["light"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["patchcore", "gaussian", "destseg"])
def test_an_efficientnet_compiles_in_every_precision(method: str, tmp_path: Path) -> None:
    net = _light(method, "efficientnet_lite0", tmp_path)
    assert net.config.backbone == "efficientnet_lite0"
    _compiles(net, method, SIDE["light"], tmp_path)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", METHODS)
def test_the_published_network_compiles_in_every_precision(method: str, tmp_path: Path) -> None:
    kind, side = load_method(method), SIDE["full"]
    torch.manual_seed(0)
    _compiles(kind.build(kind.config(), (side, side)).eval(), method, side, tmp_path)


def _compiles(net: Any, method: str, side: int, folder: Path) -> None:
    size = (side, side)
    manifest = Manifest(
        method=method, size_hw=size, score=load_method(method).score(net.config, size)
    )
    model = onnx_from_module(EngineGraph(net), manifest)
    fp32 = _builds(model, manifest, folder / "fp32.onnx")
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    fp16 = mixed_from_fp32(model, images, manifest).model
    fp16_manifest = manifest.replace(precision="fp16")
    set_manifest(fp16, fp16_manifest)
    _builds(fp16, fp16_manifest, folder / "fp16.onnx")
    int8 = _calibrated(fp32, side, folder)
    build_plan(int8, int8.with_suffix(".plan"), ONE_CARD, runtime="tensorrt-rtx")
    for path in (folder / "fp16.onnx", int8):
        with open_engine(path) as engine:
            answer = engine.infer(images[:1])
            assert np.isfinite(answer.maps).all() and np.isfinite(answer.scores).all()


def _calibrated(fp32: Path, side: int, folder: Path) -> Path:
    """Quantize for TensorRT, with ranges of a few noisy images, ungated."""
    images, int8 = folder / "good", folder / "int8.onnx"
    images.mkdir()
    rng = np.random.default_rng(1)
    for number in range(8):
        image = rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(images / f"{number}.png"), image)
    words = ("--target", "tensorrt", "--method", "minmax", "--no-gate", "--samples", 8)
    assert run("calibrate", fp32, "--images", images, *words, "-o", int8) == 0
    quantized = [
        node for node in load_model(int8)[0].graph.node if node.op_type == "QuantizeLinear"
    ]
    assert len(quantized) >= 3
    return int8


def _builds(model: onnx.ModelProto, manifest: Manifest, path: Path) -> Path:
    onnx.save(model, path)
    built = build_plan(path, path.with_suffix(".plan"), ONE_CARD, runtime="tensorrt-rtx")
    assert built.sidecar.manifest == manifest
    return path


def _light(method: str, backbone: Backbone, folder: Path) -> Any:
    """Untrained, at the light preset's shape, made smaller."""
    torch.manual_seed(0)
    teacher = folder / "teacher.pth"
    torch.save(state_of(build_trunk(backbone).state_dict()), teacher)
    training, side = load_training(method), SIDE["light"]
    settings = parse_settings(training, LIGHT.get(method, {}), "edge", teacher)
    return training.trainer(settings, (side, side), teacher).module.eval()
