"""Every method trains, resumes and exports the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_ad.engine import open_engine
from edge_ad.errors import DataError, EdgeAdError, UsageError
from edge_ad.methods.ear.digit_attention import DigitAttention
from edge_ad.methods.layers.vit import SHAPES, ViT, ViTShape
from edge_ad.methods.learning.parse import parse_settings
from edge_ad.methods.learning.trainer import load_training
from edge_ad.methods.registry import METHODS
from edge_ad.methods.torch_engine import TorchEngine
from edge_ad.methods.weights import load_detector
from edge_ad.training.loop import Interrupted
from tests.methods.conftest import Exported, Trained
from tests.methods.tiny_settings import SIZE, tiny_config
from tests.training.runs import run

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_and_reports(method: str, trained: Callable[[str], Trained]) -> None:
    report = trained(method).report
    assert sum(report["steps"].values()) == 4 and report["parameters"] > 0
    measured = next(iter(report["choice"]["measured"].values()))
    assert report["gflops"] >= 0 and 0 <= measured["image_auroc"] <= 1
    assert set(report["reference"]) >= {"trained", "gaussian", "patchcore"}


@pytest.mark.parametrize(
    "method", [pytest.param(m, marks=() if m == "gaussian" else pytest.mark.slow) for m in METHODS]
)
def test_the_exported_engine_agrees_with_torch_for_any_batch(
    method: str, exported: Callable[[str], Exported]
) -> None:
    result = exported(method)
    images = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)
    with open_engine(result.engine) as engine, TorchEngine(result.weights) as oracle:
        expected, observed = oracle.infer(images), engine.infer(images)
        np.testing.assert_allclose(observed.maps, expected.maps, atol=1e-5)
        np.testing.assert_allclose(observed.scores, expected.scores, atol=1e-5)


@pytest.mark.parametrize(("method", "part"), [("clflow", "backbone"), ("destseg", "teacher")])
def test_pretrained_weights_are_not_changed_by_training(
    method: str, part: str, trained: Callable[[str], Trained], backbone: Path
) -> None:
    state = load_detector(trained(method).weights).module.state_dict()
    for key, value in torch.load(backbone, weights_only=True).items():
        assert torch.equal(state[f"{part}.{key}"], value), key


@pytest.mark.slow
@pytest.mark.parametrize("method", ["clflow", "ear", "gaussian", "patchcore"])
def test_an_interrupted_training_resumes_to_the_same_weights(
    method: str,
    parts: Path,
    backbone: Path,
    tmp_path: Path,
    trained: Callable[[str], Trained],
) -> None:
    halted = tiny_config(method, parts, tmp_path / "x.pt", backbone)
    with pytest.raises(Interrupted):
        run(halted, stop_after=3)
    run(replace(halted, resume=True))
    paths = (trained(method).weights, tmp_path / "x.pt")
    one, other = (load_detector(path).module.state_dict() for path in paths)
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, msg=key)


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("clflow", {"network.backbone": "resnet18"}, r"needs the weights of its backbone resnet18"),
        ("ear", {"network.attention": "mnist"}, r"needs its weights.*edge-ad attention"),
        ("ear", {"network.attention": "dino_vits8"}, r"needs its weights.*network.attention=none"),
    ],
)
def test_missing_pretrained_weights_are_asked_for(
    method: str, given: dict[str, Any], message: str
) -> None:
    training = load_training(method)
    with pytest.raises(UsageError, match=message):
        training.trainer(parse_settings(training, given), (64, 64), None)


def test_a_backbone_file_that_is_not_what_it_claims_says_what_it_looks_like(
    backbone: Path,
) -> None:
    training = load_training("clflow")
    with pytest.raises(DataError, match=r"Wide ResNet-50-2.*does not have.*conv3.*like ResNet-18"):
        training.trainer(parse_settings(training, {}), (32, 32), backbone)


@pytest.mark.parametrize("attention", ["mnist", "dino_vits8"])
def test_attention_is_read_from_a_file_and_not_trained(
    attention: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: Path
) -> None:
    monkeypatch.setitem(SHAPES, "dino_vits8", ViTShape(8, 24, 3, depth=1))
    net = DigitAttention() if attention == "mnist" else ViT(SHAPES["dino_vits8"], (64, 64))
    torch.save(net.state_dict(), tmp_path / "attention.pth")
    given = {"network__attention": attention}
    run(tiny_config("ear", parts, tmp_path / "x.pt", tmp_path / "attention.pth", **given))
    state = load_detector(tmp_path / "x.pt").module.state_dict()
    for key, value in net.state_dict().items():
        if key != "pos_embed":  # fitted to another grid
            assert torch.equal(state[f"attention.{key}"], value), key


def test_a_loss_that_is_not_finite_stops_training(
    parts: Path, backbone: Path, tmp_path: Path
) -> None:
    config = tiny_config("pmb", parts, tmp_path / "x.pt", backbone, lr=1e30)
    with pytest.raises(EdgeAdError, match=r"the loss became .* at step \d.*like --set lr=3.3e\+29"):
        run(config)
    assert not (tmp_path / "x.pt").exists()
