"""Every method trains, resumes, exports and is measured through the same doors."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch

from edge_ad.engine import open_engine
from edge_ad.errors import DataError, EdgeAdError, UsageError
from edge_ad.export.onnx import onnx_from_module
from edge_ad.methods.ear.digit_attention import DigitAttention
from edge_ad.methods.engine_graph import EngineGraph
from edge_ad.methods.layers.resnet import ResNet18
from edge_ad.methods.layers.vit import SHAPES, Shape, ViT
from edge_ad.methods.learning.trainer import TRAININGS, settings_from, training_named
from edge_ad.methods.method import METHODS
from edge_ad.methods.torch_engine import TorchEngine
from edge_ad.methods.weights import load_detector
from edge_ad.training.loop import Interrupted, TrainingProgress
from edge_ad.training.session import TrainConfig, train

SIZE = (32, 32)
TINY: dict[str, dict[str, Any]] = {
    "draem": {"rec_base": 4, "seg_base": 4},
    "clflow": {"backbone": "resnet18", "flow_steps": 2, "hidden_ratio": 0.1, "warmup": 0.5},
    "ear": {"attention": "none", "widths": (4, 4, 8), "mosaic_px": 4},
    "pmb": {"widths": (4, 4, 8, 8), "bottleneck": 8, "partitions": (2, 2, 2, 2), "items": 4},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(0)
    for index in range(10):
        image = np.full((40, 48, 3), 90, np.uint8) + rng.integers(0, 30, (40, 48, 1), np.uint8)
        cv2.circle(image, (24, 20), 10, (40, 120, 200), -1)
        cv2.imwrite(str(folder / f"{index}.png"), image)
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("backbone") / "resnet18.pth"
    torch.save(ResNet18((64, 128, 256)).state_dict(), path)
    return path


def _job(method: str, data: Path, output: Path, teacher: Path, **changed: Any) -> TrainConfig:
    given = {"steps": 4, "batch": 2, **TINY[method], **changed}
    settings = settings_from(training_named(method), given)
    return TrainConfig(method, data, output, SIZE, settings, teacher=teacher)


def _train(job: TrainConfig) -> dict[str, Any]:
    return train(job, threading.Event(), lambda news: None)


def test_every_method_can_be_trained() -> None:
    assert set(TRAININGS) == set(METHODS) == {"destseg", *TINY}


@pytest.mark.parametrize("method", TINY)
def test_a_method_trains_and_exports(
    method: str, images: Path, backbone: Path, tmp_path: Path
) -> None:
    result = _train(_job(method, images, tmp_path / "x.pt", backbone))
    assert sum(result["steps"].values()) == 4 and result["parameters"] > 0
    assert result["gflops"] >= 0 and 0 <= next(iter(_measured(result)))["image_auroc"] <= 1
    detector = load_detector(tmp_path / "x.pt")
    onnx.save(
        onnx_from_module(EngineGraph(detector.module), detector.manifest), tmp_path / "x.onnx"
    )
    batch = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)
    with open_engine(tmp_path / "x.onnx") as engine, TorchEngine(tmp_path / "x.pt") as oracle:
        ours, theirs = oracle.infer(batch), engine.infer(batch)
        np.testing.assert_allclose(theirs.maps, ours.maps, atol=1e-4 * np.abs(ours.maps).max())
    if method == "clflow":
        for key, value in torch.load(backbone, weights_only=True).items():
            assert torch.equal(detector.module.state_dict()[f"backbone.{key}"], value), key


@pytest.mark.parametrize("method", ["clflow", "ear"])
def test_an_interrupted_training_goes_on_to_the_same_weights(
    method: str, images: Path, backbone: Path, tmp_path: Path
) -> None:
    straight = _job(method, images, tmp_path / "a.pt", backbone)
    _train(straight)
    halted = _job(method, images, tmp_path / "b.pt", backbone)
    stop = threading.Event()

    def at_three(news: TrainingProgress) -> None:
        if news.step == 3:
            stop.set()

    with pytest.raises(Interrupted):
        train(halted, stop, at_three)
    _train(TrainConfig(**{**vars(halted), "resume": True}))
    one, other = (load_detector(tmp_path / name).module.state_dict() for name in ("a.pt", "b.pt"))
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, msg=key)


@pytest.mark.parametrize("method", ["draem", "clflow", "ear", "pmb"])
def test_light_settings_are_named_edge_and_fit_the_network(method: str, backbone: Path) -> None:
    recipe = training_named(method)
    settings = settings_from(recipe, {}, "edge")
    trainer = recipe.trainer(settings, (128, 128), backbone)
    full = {"draem": 97.4, "clflow": 69.9, "ear": 25.9, "pmb": 25.0}[method]
    assert sum(p.numel() for p in trainer.module.parameters()) < full * 1e6 / 5


def test_settings_of_a_method_that_lacks_them_name_those_it_has() -> None:
    with pytest.raises(UsageError, match=r"draem has no preset 'egde'; it has: edge"):
        settings_from(training_named("draem"), {}, "egde")
    with pytest.raises(UsageError, match=r"pmb has no setting 'itens'. Did you mean 'items'"):
        settings_from(training_named("pmb"), {"itens": 3})


def test_changing_one_kind_of_damage_keeps_the_methods_others() -> None:
    settings = settings_from(training_named("draem"), {"synthesis.rotation": "none"})
    assert settings.synthesis.anomaly_share == 0.5 and settings.synthesis.rotation == "none"


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("clflow", {"backbone": "resnet18"}, r"needs the weights of its backbone resnet18"),
        ("ear", {"attention": "mnist"}, r"needs its weights.*edge-ad attention"),
        ("ear", {"attention": "dino_vits8"}, r"needs its weights.*attention=none"),
    ],
)
def test_missing_pretrained_weights_are_asked_for(
    method: str, given: dict[str, Any], message: str
) -> None:
    recipe = training_named(method)
    with pytest.raises(UsageError, match=message):
        recipe.trainer(settings_from(recipe, given), (64, 64), None)


def test_a_backbone_file_that_is_not_what_it_claims_says_what_it_looks_like(
    backbone: Path,
) -> None:
    recipe = training_named("clflow")
    with pytest.raises(DataError, match=r"Wide ResNet-50-2.*lacks.*conv3.*like ResNet-18"):
        recipe.trainer(settings_from(recipe, {}), (32, 32), backbone)


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("draem", {"mean_filter_px": 4}, "setting mean_filter_px: .*even number has no middle"),
        ("pmb", {"lateral": ("pmb", "skip")}, "setting lateral: .*at least 4"),
        ("ear", {"attention": "none", "widths": (8,)}, "setting widths: .*at least 2"),
    ],
)
def test_settings_that_no_network_can_have_are_refused(
    method: str, given: dict[str, Any], message: str
) -> None:
    recipe = training_named(method)
    with pytest.raises(UsageError, match=message):
        recipe.trainer(settings_from(recipe, given), (64, 64), None)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("draem", "--set lr=3.3e-05"),
        ("destseg", "--set lr_student=0.13 --set lr_res=0.033 --set lr_head=0.0033"),
    ],
)
def test_slower_rates_are_the_methods_own(method: str, words: str) -> None:
    assert settings_from(training_named(method), {}).slower == words


@pytest.mark.parametrize("attention", ["mnist", "dino_vits8"])
def test_attention_is_read_from_a_file_and_salient_pixels_are_remembered(
    attention: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Path
) -> None:
    monkeypatch.setitem(SHAPES, "dino_vits8", Shape(8, 24, 3, depth=1))
    net = DigitAttention() if attention == "mnist" else ViT(SHAPES["dino_vits8"], (64, 64))
    torch.save(net.state_dict(), tmp_path / "attention.pth")
    given = {"attention": attention}
    _train(_job("ear", images, tmp_path / "x.pt", tmp_path / "attention.pth", **given))
    state = load_detector(tmp_path / "x.pt").module.state_dict()
    for key, value in net.state_dict().items():
        if key != "pos_embed":  # fitted to another grid
            assert torch.equal(state[f"attention.{key}"], value), key


def test_a_loss_that_is_no_number_stops_training(
    images: Path, backbone: Path, tmp_path: Path
) -> None:
    job = _job("pmb", images, tmp_path / "x.pt", backbone, lr=1e30)
    with pytest.raises(EdgeAdError, match=r"the loss became .* at step \d.*like --set lr=3.3e\+29"):
        _train(job)
    assert not (tmp_path / "x.pt").exists()


def _measured(result: dict[str, Any]) -> Any:
    return result["choice"]["measured"].values()
