"""Training settings: resolved values, names, parsing, learning rates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_ad.errors import UsageError
from edge_ad.methods.layers.backbone import Backbone, build_trunk
from edge_ad.methods.learning.parse import BACKBONE, parse_settings, setting_names
from edge_ad.methods.learning.settings import LearningRate, TrainingSettings, decayed
from edge_ad.methods.learning.trainer import load_training
from edge_ad.methods.method import load_method, parse_config
from edge_ad.methods.registry import METHODS

# settings of every method and preset, and its network's configuration by image size
RESOLVED = json.loads((Path(__file__).parent / "settings.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", RESOLVED)
def test_resolved_settings_are_the_recorded_ones(name: str) -> None:
    method, _, preset = name.partition("/")
    settings = parse_settings(load_training(method), {}, None if preset == "full" else preset)
    assert settings.model_dump(mode="json") == RESOLVED[name]["settings"]
    for size, config in RESOLVED[name]["networks"].items():
        height, width = map(int, size.split("x"))
        assert settings.network.for_size((height, width)).model_dump(mode="json") == config


def test_a_draw_of_the_parts_gives_no_shares() -> None:
    drawn, shared = (
        parse_settings(load_training("destseg"), {f"set_aside.{name}": value}).set_aside
        for name, value in (("draw", "1"), ("threshold", "0.2"))
    )
    assert not drawn.shares_given and shared.shares_given
    assert (drawn.shares, drawn.draw) == (shared.shares, 1)


@pytest.mark.parametrize("name", METHODS)
def test_a_configuration_for_large_images_can_be_read_back(name: str) -> None:
    config = parse_settings(load_training(name), {}).network.for_size((4096, 4096))
    assert parse_config(load_method(name), config.model_dump(mode="json"), "a.pt") == config


def test_settings_of_every_method_and_preset_are_recorded() -> None:
    presets = {name: ["full", *load_training(name).presets] for name in METHODS}
    assert set(RESOLVED) == {f"{name}/{preset}" for name in METHODS for preset in presets[name]}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_the_preset_edge_and_its_own_network_settings(method: str) -> None:
    training = load_training(method)
    assert training.name == method and "edge" in training.presets
    assert any(name.startswith("network.") for name in setting_names(training))
    assert "synthesis.rotation" in setting_names(training)


def test_choices_of_numbers_are_set_by_text_too() -> None:
    given = {"network.levels": ["1", " 2"], "network.patch": "5"}
    network = parse_settings(load_training("patchcore"), given).network.model_dump()
    assert (network["levels"], network["patch"]) == ((1, 2), 5)


def test_a_name_with_a_dot_reaches_into_the_network() -> None:
    settings = parse_settings(load_training("pmb"), {"network.items": "32"})
    network = settings.network.model_dump()
    assert network["items"] == 32 and network["top_k"] is None and network["hee"] == "exact"


def test_changing_one_setting_of_a_group_keeps_the_methods_others() -> None:
    settings = parse_settings(load_training("draem"), {"synthesis.rotation": "none"})
    assert settings.synthesis.anomaly_share == 0.5 and settings.synthesis.rotation == "none"


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("destseg", {"lr_studnet": 1}, "no setting 'lr_studnet'. Did you mean 'lr_student'"),
        ("destseg", {"synthesis.rotatoin": "full"}, "Did you mean 'synthesis.rotation'"),
        ("destseg", {"width": 1}, "no setting 'width'. Did you mean 'network.width'"),
        ("pmb", {"itens": 3}, "no setting 'itens'. Did you mean 'network.items'"),
        ("destseg", {"lr_student": "fast"}, "setting lr_student: .*got 'fast'"),
        ("destseg", {"synthesis.texture_weight": [0.2, 7]}, "setting synthesis.texture_weight.1"),
        ("destseg", {"network.width": 9}, "setting network.width"),
        ("destseg", {"network.branch": "left"}, "setting network.branch"),
        ("draem", {"network.mean_filter_px": 4}, "network.mean_filter_px: .*even number has no"),
        ("pmb", {"network.lateral": ("pmb", "skip")}, "setting network.lateral: .*at least 4"),
        ("ear", {"network.widths": (8,)}, "setting network.widths: .*at least 2"),
        ("gaussian", {"average": "0.9"}, "gaussian learns no weights, so average has no effect"),
        ("patchcore", {"checks": "5"}, "patchcore learns no weights, so checks has no effect"),
        ("patchcore", {"lr_tail": "0.3"}, "so lr_tail has no effect"),
    ],
)
def test_a_wrong_setting_is_refused(method: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_settings(load_training(method), given)


@pytest.mark.parametrize(
    ("method", "given", "preset", "held", "used"),
    [
        ("patchcore", {}, "edge", "efficientnet_lite0", "efficientnet_lite0"),
        ("patchcore", {}, None, "resnet18", "resnet18"),
        ("gaussian", {}, None, "efficientnet_lite0", "efficientnet_lite0"),
        ("destseg", {}, "edge", "efficientnet_lite0", "efficientnet_lite0"),
        ("destseg", {}, "paper", "efficientnet_lite0", "resnet18"),
        ("patchcore", {}, "paper", "efficientnet_lite0", "wide_resnet50_2"),
        ("patchcore", {BACKBONE: "resnet18"}, "edge", "efficientnet_lite0", "resnet18"),
        ("clflow", {}, None, "resnet18", "resnet18"),
        ("clflow", {}, None, "efficientnet_lite0", "wide_resnet50_2"),  # not one of its backbones
    ],
)
def test_the_teachers_file_names_the_backbone(
    method: str, given: dict[str, Any], preset: str | None, held: Backbone, used: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    torch.save(build_trunk(held).state_dict(), tmp_path / "teacher.pth")
    settings = parse_settings(load_training(method), given, preset, tmp_path / "teacher.pth")
    assert settings.network.model_dump()["backbone"] == used


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"draem has no preset 'egde'; it has: edge"):
        parse_settings(load_training("draem"), {}, "egde")


def test_an_unknown_setting_that_resembles_none_lists_all() -> None:
    with pytest.raises(UsageError, match=r"There are: batch, .*network.rec_base.*synthesis"):
        parse_settings(load_training("draem"), {"qqqq": 1})


def test_settings_are_parsed_from_text() -> None:
    given = {"lr_student": "0.2", "synthesis.texture_weight": ["0.1", "1"], "network.width": "0.5"}
    settings = parse_settings(load_training("destseg"), given)
    values = settings.model_dump()
    assert values["lr_student"] == 0.2 and values["network"]["width"] == 0.5
    assert settings.synthesis.texture_weight == (0.1, 1)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("draem", "--set lr=3.3e-05"),
        ("destseg", "--set lr_student=0.13 --set lr_res=0.033 --set lr_head=0.0033"),
    ],
)
def test_lower_rates_are_a_third_of_the_methods_own(method: str, options: str) -> None:
    assert parse_settings(load_training(method), {}).lower_rates == options


def test_every_marked_setting_is_a_learning_rate_whatever_its_name() -> None:
    class Settings(TrainingSettings):
        lr_flow: LearningRate = 3.0
        lr_decay: float = 3.0

    assert Settings().lower_rates == "--set lr_flow=1"


def test_a_rate_decays_at_each_share() -> None:
    assert decayed(0.5, 0.1, ()) == 1
    assert decayed(0.85, 0.2, (0.8, 0.9)) == pytest.approx(0.2)
