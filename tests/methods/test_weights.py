"""Weights files and teachers: reading them back, and errors for those that do not fit."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_ad.errors import DataError, UsageError
from edge_ad.manifest import Manifest, Score
from edge_ad.methods.destseg.network import DeSTSeg, DeSTSegConfig
from edge_ad.methods.layers.backbone import load_backbone
from edge_ad.methods.layers.resnet import ResNet18
from edge_ad.methods.method import load_method
from edge_ad.methods.registry import METHODS, title_of
from edge_ad.methods.torch_engine import TorchEngine
from edge_ad.methods.weights import load_detector, save_detector
from tests.torch_setup import NARROW

SIZE = (32, 40)
CONFIG = DeSTSegConfig(width=0.125, top_k=5)
FULL = (*NARROW, 128)
pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "destseg.pt"
    manifest = Manifest(method="destseg", size_hw=SIZE, score=Score(top_k=5))
    save_detector(path, DeSTSeg(CONFIG, SIZE), manifest, CONFIG)
    return path


def changed(path: Path, folder: Path, **parts: Any) -> Path:
    content = torch.load(path, weights_only=True)
    target = folder / "changed.pt"
    torch.save({**content, **parts}, target)
    return target


def test_saved_weights_give_the_same_outputs(weights: Path) -> None:
    torch.manual_seed(1)
    net = DeSTSeg(CONFIG, SIZE).eval()
    detector = load_detector(weights)
    image = torch.rand(2, 3, *SIZE)
    for mine, read in zip(net(image), detector.module(image), strict=True):
        assert torch.equal(mine, read)
    assert not detector.module.training
    assert detector.manifest.score.top_k == 5
    assert detector.config["width"] == 0.125


def test_torch_engine_takes_any_number_of_images(weights: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (19, *SIZE, 3), np.uint8)
    with TorchEngine(weights) as engine:
        together = engine.infer(images)
        alone = engine.infer(images[18:])
    assert together.maps.shape == (19, *SIZE)
    assert together.scores.dtype == np.float32
    np.testing.assert_allclose(together.scores[18:], alone.scores, rtol=1e-4)


def test_torch_engine_refuses_another_size(weights: Path) -> None:
    with TorchEngine(weights) as engine, pytest.raises(ValueError, match="expects uint8"):
        engine.infer(np.zeros((1, 8, 8, 3), np.uint8))


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no weights at .*edge-ad train"):
        load_detector(tmp_path / "none.pt")


@pytest.mark.parametrize("data", [b"", b"not weights", b"PK\x03\x04 cut off"])
def test_foreign_bytes_are_named_unreadable(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "foreign.pt"
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read as PyTorch weights"):
        load_detector(path)


@pytest.mark.parametrize("name", ["a.onnx", "a.PLAN"])
def test_an_engine_in_place_of_weights_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"an engine")
    with pytest.raises(DataError, match=r"an engine file, expected weights \(.pt\).*edge-ad conv"):
        load_detector(tmp_path / name)


def test_a_truncated_file_is_named_unreadable(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.pt"
    path.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(DataError, match="cannot be read as PyTorch weights"):
        load_detector(path)


def test_a_changed_bit_of_a_weight_is_refused(weights: Path, tmp_path: Path) -> None:
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "flipped.pt"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"flipped\.pt: the file is damaged: the checksum"):
        load_detector(path)


def test_a_bare_state_dict_is_not_a_weights_file(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    torch.save(ResNet18((8, 8)).state_dict(), path)
    with pytest.raises(DataError, match="not an edge-ad weights file"):
        load_detector(path)


def test_weights_of_an_unknown_method_name_it(weights: Path, tmp_path: Path) -> None:
    manifest = Manifest(method="padim", size_hw=SIZE).to_json()
    with pytest.raises(DataError, match="method 'padim'"):
        load_detector(changed(weights, tmp_path, manifest=manifest))


def test_a_broken_configuration_names_its_field(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="destseg configuration: width"):
        load_detector(changed(weights, tmp_path, config={"width": -1.0}))


@pytest.mark.parametrize("part", ["manifest", "config", "state"])
def test_a_file_without_one_of_its_parts_is_refused(
    weights: Path, tmp_path: Path, part: str
) -> None:
    with pytest.raises(DataError, match=f"has no.*{part}"):
        load_detector(changed(weights, tmp_path, **{part: None}))


def test_parameters_that_do_not_fit_are_named(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)["state"]
    state.pop("segmentation.head.1.bias")
    state["stranger"] = torch.zeros(1)
    state["teacher.conv1.weight"] = torch.zeros(2)
    with pytest.raises(DataError) as refused:
        load_detector(changed(weights, tmp_path, state=state))
    text = str(refused.value)
    assert "1 missing (segmentation.head.1.bias)" in text
    assert "1 unknown (stranger)" in text
    assert "1 of another shape (teacher.conv1.weight)" in text
    assert "They look like edge-ad's own DeSTSeg" in text


def load_teacher(trunk: ResNet18, path: Path) -> None:
    load_backbone(trunk, "resnet18", path, "DeSTSeg")


def test_a_teacher_takes_a_full_or_partial_torchvision_state(tmp_path: Path) -> None:
    full = ResNet18(FULL)
    state = {**full.state_dict(), "fc.weight": torch.zeros(10, FULL[3]), "fc.bias": torch.zeros(10)}
    for name, kept in {"full": state, "partial": only_to_layer3(state)}.items():
        path = tmp_path / f"{name}.pth"
        torch.save(kept, path)
        trunk = ResNet18(FULL[:3])
        load_teacher(trunk, path)
        assert torch.equal(trunk.state_dict()["layer3.1.conv2.weight"],
                           state["layer3.1.conv2.weight"])  # fmt: skip


def only_to_layer3(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if not key.startswith(("layer4", "fc"))}


def test_a_missing_teacher_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file.*IMAGENET1K_V1(.|\n)*resnet18-f37072fd"):
        load_teacher(ResNet18(FULL), tmp_path / "none.pth")


def test_a_teacher_of_another_network_names_missing_parameters(tmp_path: Path) -> None:
    path = tmp_path / "stem.pth"
    torch.save(only_to_layer3(ResNet18(FULL).state_dict()), path)
    with pytest.raises(
        DataError, match=r"does not have \d+ parameters \(layer4(.|\n)*IMAGENET1K_V1"
    ):
        load_teacher(ResNet18(FULL), path)


def test_a_deeper_network_of_the_family_is_no_teacher(tmp_path: Path) -> None:
    state = ResNet18(FULL).state_dict()
    more = {k.replace("layer2.1", "layer2.2"): v for k, v in state.items()}
    torch.save({**state, **more}, tmp_path / "resnet34.pth")
    with pytest.raises(DataError, match=r"also has \d+ parameters \(layer2.2.*a deeper network"):
        load_teacher(ResNet18(FULL), tmp_path / "resnet34.pth")


def test_parameters_of_no_resnet_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {**ResNet18(FULL).state_dict(), "fc.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "whole.pth")
    load_teacher(ResNet18(FULL), tmp_path / "whole.pth")
    load_teacher(ResNet18(FULL[:2]), tmp_path / "whole.pth")  # without its third stage
    assert not caplog.records
    torch.save({**state, "head.bias": torch.zeros(1)}, tmp_path / "other.pth")
    load_teacher(ResNet18(FULL), tmp_path / "other.pth")
    assert "other.pth: also holds 1 parameter (head.bias), not used" in caplog.text


def test_a_teacher_with_nan_is_refused(tmp_path: Path) -> None:
    state = ResNet18(FULL).state_dict()
    state["layer1.0.conv1.weight"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(DataError, match=r"NaN or infinity in 1 parameter \(layer1.0.conv1.weight"):
        load_teacher(ResNet18(FULL), tmp_path / "nan.pth")


class _Evil:
    """Pickles to a call of a function: what a hostile checkpoint does."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this code must not run",))


@pytest.mark.parametrize("writer", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_code_in_a_file_is_never_run(
    writer: Callable[[object, Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evil.pt"
    writer({"a": _Evil()}, path)
    for read in (load_detector, lambda p: load_teacher(ResNet18(FULL), p)):
        with pytest.raises(DataError, match=r"would run code|never runs") as refused:
            read(path)
        assert "weights_only" not in str(refused.value)  # torch's advice: run it
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04 cut off"])
def test_a_teacher_of_another_kind_of_file_is_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(DataError, match=r"x.pth: cannot be read as PyTorch weights.*cut off"):
        load_teacher(ResNet18(FULL), tmp_path / "x.pth")


@pytest.mark.parametrize("method", METHODS)
def test_bare_parameters_are_attributed_to_their_method(method: str, tmp_path: Path) -> None:
    kind = load_method(method)
    config = {"ear": {"attention": "none"}, "clflow": {"backbone": "resnet18"}}.get(method, {})
    with torch.device("meta"):
        names = kind.build(kind.config(**config), (256, 256)).state_dict()
    torch.save({name: torch.zeros(1) for name in names}, tmp_path / "bare.pt")
    title = re.escape(title_of(method))
    with pytest.raises(DataError, match=rf"tensors of edge-ad's own {title}"):
        load_detector(tmp_path / "bare.pt")
