"""DeSTSeg's network against its published shape, and what a deployed graph needs of it."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from edge_ad.errors import UsageError
from edge_ad.methods.destseg.network import (
    Branch,
    DeSTSeg,
    DeSTSegConfig,
    level_sizes,
)
from edge_ad.methods.engine_graph import EngineGraph
from edge_ad.methods.layers.blocks import default_top_k, unit
from edge_ad.methods.layers.resnet import ResNet18
from edge_ad.methods.method import load_method


def small(branch: str = "segmentation", top_k: int = 9) -> DeSTSeg:
    torch.manual_seed(0)
    config = DeSTSegConfig(width=0.125, branch=branch, top_k=top_k)  # type: ignore[arg-type]
    return DeSTSeg(config, (64, 48)).eval()


def millions(part: nn.Module) -> float:
    return sum(parameter.numel() for parameter in part.parameters()) / 1e6


def test_parameter_counts_are_the_published_ones() -> None:
    with torch.device("meta"):
        net = DeSTSeg(DeSTSegConfig(), (256, 256))
    counted = {
        "teacher": millions(net.teacher),
        "student": millions(net.student),
        "encoder": millions(net.student.encoder),
        "segmentation": millions(net.segmentation),
        "res": millions(net.segmentation.res),
        "all": millions(net),
    }
    expected = {"teacher": 2.783, "student": 24.665, "encoder": 11.177}
    expected |= {"segmentation": 7.706, "res": 2.919, "all": 35.154}
    assert counted == pytest.approx(expected, abs=5e-4)


def test_width_scales_what_is_trained_and_leaves_the_teacher() -> None:
    net = small()
    assert millions(net.teacher) == pytest.approx(2.783, abs=5e-4)
    assert millions(net.student) < 0.7
    assert millions(net.segmentation) < 0.5


@pytest.mark.parametrize("width", [0.125, 1.0])
def test_student_and_teacher_have_the_same_shapes(width: float) -> None:
    with torch.device("meta"):
        net = DeSTSeg(DeSTSegConfig(width=width), (72, 56)).eval()
        teacher, student = net.features(torch.rand(2, 3, 72, 56))
        agreement = net.agreement(teacher, student)
    shapes = [(2, 64, 18, 14), (2, 128, 9, 7), (2, 256, 5, 4)]
    assert [tuple(level.shape) for level in teacher] == shapes
    assert [tuple(level.shape) for level in student] == shapes
    assert agreement.shape == (2, 448, 18, 14)


@pytest.mark.parametrize("branch", get_args(Branch))
def test_map_and_score_have_the_contracts_shapes(branch: str) -> None:
    anomaly_map, score = small(branch)(torch.rand(3, 3, 64, 48))
    assert anomaly_map.shape == (3, 64, 48)
    assert score.shape == (3,)
    assert anomaly_map.dtype == score.dtype == torch.float32


def test_score_is_the_mean_of_the_largest_pixels() -> None:
    anomaly_map, score = small()(torch.rand(2, 3, 64, 48))
    largest = anomaly_map.flatten(1).sort(dim=1, descending=True).values[:, :9]
    assert torch.allclose(score, largest.mean(dim=1))


def test_segmentation_map_is_a_probability() -> None:
    anomaly_map, _ = small()(torch.rand(2, 3, 64, 48))
    assert bool(((anomaly_map > 0) & (anomaly_map < 1)).all())


def test_distance_is_zero_where_the_student_agrees() -> None:
    net = small("distance")
    teacher, _ = net.features(torch.rand(1, 3, 64, 48))
    assert bool((net.distance(teacher, teacher).abs() < 1e-3).all())


def test_combined_is_the_product_of_both_branches() -> None:
    image = torch.rand(2, 3, 64, 48)
    maps = {branch: small(branch)(image)[0] for branch in get_args(Branch)}
    assert torch.allclose(maps["combined"], maps["segmentation"] * maps["distance"])


def test_distances_are_multiplied_at_a_quarter_and_then_enlarged() -> None:
    net = small("distance")
    features = net.features(torch.rand(1, 3, *net.size_hw))
    product = torch.ones(1, 1, *net.sizes[0])
    for teacher, student in zip(*features, strict=True):
        level = 1 - (teacher * student).sum(1, keepdim=True)
        product = product * nn.functional.interpolate(level, net.sizes[0], mode="bilinear")
    expected = nn.functional.interpolate(product, net.size_hw, mode="bilinear")[:, 0]
    assert torch.allclose(net.distance(*features), expected, atol=1e-6)


def test_distance_branch_leaves_the_segmentation_net_alone() -> None:
    net = small("distance")
    net.segmentation.register_forward_hook(lambda *_: pytest.fail("was computed"))
    net(torch.rand(1, 3, 64, 48))


def test_agreement_carries_the_released_codes_minus_sign() -> None:
    net = small()
    teacher, _ = net.features(torch.rand(1, 3, 64, 48))
    assert bool((net.agreement(teacher, teacher) <= 0).all())


def test_zero_vectors_stay_finite_in_bf16() -> None:
    zeros = torch.zeros(1, 4, 2, 2, dtype=torch.bfloat16)
    assert bool((unit(zeros, 1e-6) == 0).all())


def test_unit_has_length_one() -> None:
    lengths = unit(torch.rand(2, 8, 3, 3) + 0.1, 1e-6).norm(dim=1)
    assert torch.allclose(lengths, torch.ones_like(lengths), atol=1e-5)


def test_encoder_blocks_start_as_their_shortcut() -> None:
    encoder = small().student.encoder
    scales = [p for name, p in encoder.named_parameters() if name.endswith("bn2.weight")]
    assert len(scales) == 8
    assert not any(bool(scale.any()) for scale in scales)


@pytest.mark.parametrize(
    ("size_hw", "top_k"), [((256, 256), 100), ((128, 128), 25), ((32, 32), 2), ((2048, 2048), 3840)]
)
def test_top_k_scales_with_the_area(size_hw: tuple[int, int], top_k: int) -> None:
    assert default_top_k(size_hw) == top_k


def test_a_score_of_more_pixels_than_the_map_has_is_refused() -> None:
    with pytest.raises(UsageError, match=r"top_k 2000.*32x32"):
        DeSTSeg(DeSTSegConfig(width=0.125, top_k=2000), (32, 32))


def test_level_sizes_round_up_like_the_strides() -> None:
    features = ResNet18((8, 8, 8, 8)).eval()(torch.rand(1, 3, 50, 70))
    assert tuple(tuple(level.shape[2:]) for level in features) == level_sizes((50, 70))


def test_engine_graph_turns_bgr_bytes_to_rgb_unit_range() -> None:
    inputs: list[torch.Tensor] = []

    class Spy(nn.Module):
        def forward(self, rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            inputs.append(rgb)
            return rgb[:, 0], rgb[:, 0, 0, 0]

    image = torch.zeros(1, 4, 5, 3, dtype=torch.uint8)
    image[..., 0] = 255  # blue
    EngineGraph(Spy())(image)
    assert inputs[0].shape == (1, 3, 4, 5)
    assert inputs[0][0, :, 0, 0].tolist() == [0, 0, 1]


def test_manifest_score_describes_the_graphs_score() -> None:
    method = load_method("destseg")
    assert method.score(DeSTSegConfig(top_k=25), (64, 64)).to_dict() == {
        "top_k": 25,
        "mean_filter_px": 1,
    }


def test_top_k_none_scales_with_the_image() -> None:
    method = load_method("destseg")
    config = DeSTSegConfig(top_k=None)
    assert method.score(config, (128, 128)).top_k == 25
    assert config.for_size((128, 128)).top_k == 25
    assert DeSTSeg(config.model_copy(update={"width": 0.125}), (32, 32)).config.top_k == 2
