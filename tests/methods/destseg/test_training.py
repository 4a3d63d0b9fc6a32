"""DeSTSeg's losses, schedule and phases."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edge_ad.errors import UsageError
from edge_ad.methods.destseg.map_choice import best_top_k
from edge_ad.methods.destseg.training import (
    TRAINING,
    DeSTSegSettings,
    DeSTSegTrainer,
    mask_at,
)
from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import best
from edge_ad.methods.learning.frozen_features import FrozenFeatures
from edge_ad.methods.learning.losses import cosine_loss, focal_loss, l1_loss
from edge_ad.methods.learning.parse import parse_settings
from edge_ad.synthesis.anomalies import SynthesisConfig
from edge_ad.synthesis.kinds import KINDS
from edge_ad.synthesis.textures import ProceduralTextures
from edge_ad.training.data import BatchSampler
from edge_ad.training.selection import selection_batch
from tests.part_images import striped_part
from tests.training.train_configs import SMALL, write_teacher

pytestmark = pytest.mark.usefixtures("narrow")


def levels(seed: int) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    shapes = [(3, 8, 4, 4), (3, 16, 2, 2), (3, 32, 1, 1)]
    return [nn.functional.normalize(torch.randn(shape), dim=1) for shape in shapes]


def test_cosine_loss_doubles_with_the_batch() -> None:
    teacher, student = levels(0), levels(1)
    once = cosine_loss(teacher, student)
    twice = cosine_loss([torch.cat([t, t]) for t in teacher], [torch.cat([s, s]) for s in student])
    assert twice.item() == pytest.approx(2 * once.item(), rel=1e-5)


def test_cosine_loss_of_opposites_is_two_a_level_and_image() -> None:
    teacher = levels(0)
    assert cosine_loss(teacher, [-t for t in teacher]).item() == pytest.approx(2 * 3 * 3, rel=1e-5)
    assert cosine_loss(teacher, teacher).item() == pytest.approx(0, abs=1e-4)


def test_focal_loss_of_an_undecided_net() -> None:
    target = (torch.rand(2, 1, 8, 8) > 0.7).float()
    loss = focal_loss(torch.zeros(2, 1, 8, 8), target, gamma=4)
    assert loss.item() == pytest.approx(0.0625 * math.log(2), rel=1e-5)


def test_focal_loss_stays_finite_for_a_net_that_is_surely_wrong() -> None:
    logits = torch.tensor([200.0, -200.0], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0.0, 1.0]), gamma=4)
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(200, rel=1e-4)
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_l1_loss_of_an_undecided_net_is_a_half() -> None:
    target = (torch.rand(2, 1, 8, 8) > 0.7).float()
    assert l1_loss(torch.zeros(2, 1, 8, 8), target).item() == pytest.approx(0.5)


def test_the_mask_is_scaled_bilinearly_and_rounded_at_a_half() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:4, 2:4] = 1
    mask[..., 5, 5] = 1  # a quarter of its cell
    assert mask_at(mask, (4, 4))[0, 0].nonzero().tolist() == [[1, 1]]


def trainer(folder: Path, **changes: object) -> DeSTSegTrainer:
    settings = parse_settings(TRAINING, {**SMALL, **changes})
    assert isinstance(settings, DeSTSegSettings)
    torch.manual_seed(0)
    return DeSTSegTrainer(settings, (32, 32), write_teacher(folder / "teacher.pth"))


def batch(step: int = 0) -> Batch:
    tiles = np.stack([striped_part(seed, (32, 32)) for seed in range(6)])
    textures = ProceduralTextures((32, 32))
    sampler = BatchSampler(
        tiles, np.arange(6), textures, SynthesisConfig(), size=4, seed=0, grey=False
    )
    return sampler.draw(step)


def steps(made: DeSTSegTrainer, phase: str, count: int) -> list[float]:
    optimizer, values = made.begin(phase), []
    for step in range(count):
        optimizer.zero_grad()
        loss = torch.stack(list(made.losses(phase, batch(step)).values())).sum()
        torch.autograd.backward(loss)
        optimizer.step()
        values.append(loss.item())
    return values


def snapshot(net: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


@pytest.mark.parametrize(
    ("phase", "moving"), [("student", "student."), ("segmentation", "segmentation.")]
)
def test_each_phase_moves_its_own_net_alone(tmp_path: Path, phase: str, moving: str) -> None:
    made = trainer(tmp_path)
    before = snapshot(made.module)
    steps(made, phase, 2)
    after = made.module.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert {key.split(".")[0] + "." for key in changed} == {moving}
    assert any("running_mean" in key for key in changed)


def test_the_segmentation_net_has_two_learning_rates(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    groups = made.begin("segmentation").param_groups
    counted = [sum(p.numel() for p in group["params"]) for group in groups]
    whole = sum(p.numel() for p in made.module.segmentation.parameters())
    assert [group["lr"] for group in groups] == [0.1, 0.01]
    assert sum(counted) == whole
    assert counted[0] == sum(p.numel() for p in made.module.segmentation.res.parameters())


def test_each_weight_is_that_of_its_loss(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    made.begin("segmentation")
    before = made.losses("segmentation", batch())
    made.settings = made.settings.model_copy(update={"focal": 2.0, "l1": 3.0})
    after = made.losses("segmentation", batch())
    for name, weight in (("focal", 2), ("l1", 3)):
        assert after[name].item() == pytest.approx(weight * before[name].item(), rel=1e-4), name


def test_the_published_schedule_is_the_default() -> None:
    s = parse_settings(TRAINING, {})
    assert isinstance(s, DeSTSegSettings)
    assert (s.batch, s.steps, s.lr_student, s.lr_res, s.lr_head) == (32, 5000, 0.4, 0.1, 0.01)
    assert (s.momentum, s.weight_decay, s.gamma, s.focal, s.l1) == (0.9, 1e-4, 4, 1, 1)
    assert (s.synthesis.anomaly_share, s.synthesis.texture_weight, s.lr_tail) == (1, (0.2, 1), 0)


def test_the_published_split_is_1000_to_4000(tmp_path: Path) -> None:
    settings = parse_settings(TRAINING, {"network.width": 0.125})
    made = TRAINING.trainer(settings, (32, 32), write_teacher(tmp_path / "t.pth"))
    assert [phase.steps for phase in made.phases] == [1000, 4000]


def test_some_steps_lower_the_student_loss(tmp_path: Path) -> None:
    losses = steps(trainer(tmp_path), "student", 20)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.slow
def test_some_steps_lower_the_segmentation_loss(tmp_path: Path) -> None:
    losses = steps(trainer(tmp_path), "segmentation", 30)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_a_missing_teacher_option_names_where_to_get_one() -> None:
    with pytest.raises(UsageError, match=r"--teacher FILE.*IMAGENET1K_V1"):
        TRAINING.trainer(parse_settings(TRAINING, SMALL), (32, 32), None)


def test_frozen_features_are_computed_once_and_do_not_depend_on_neighbours() -> None:
    net = nn.Conv2d(3, 4, 3).eval()
    sizes: list[int] = []

    def network(images: torch.Tensor) -> list[torch.Tensor]:
        sizes.append(len(images))
        return [net(images)]

    images = torch.rand(5, 3, 8, 8)
    frozen = FrozenFeatures(network)
    forward = frozen(images, torch.arange(5))
    backward = frozen(images.flip(0), torch.arange(4, -1, -1))
    assert torch.equal(forward[0], backward[0].flip(0))
    assert sizes == [1] * 6  # the first once more, to learn its size


def test_frozen_features_beyond_their_memory_are_computed_each_time() -> None:
    frozen = FrozenFeatures(lambda images: [images * 2], cache_bytes=3 * 3 * 8 * 8 * 4)
    images = torch.rand(5, 3, 8, 8)
    for _ in range(2):
        assert torch.equal(frozen(images, torch.arange(5))[0], images * 2)
    assert len(frozen) <= 3


@pytest.mark.parametrize("exposure", [0.0, 0.5])
def test_the_student_is_compared_with_features_of_the_normal_tile(
    tmp_path: Path, exposure: float
) -> None:
    """They are cached where a tile is the same in every batch, and there alone."""
    made, drawn = trainer(tmp_path, **{"synthesis.exposure": exposure}), batch()
    made.begin("student")
    net = made.module
    for seen in (drawn, drawn._replace(normal=drawn.normal.flip(-1) if exposure else drawn.normal)):
        with torch.no_grad():
            expected = net.directions(net.teacher(net.normalised(seen.normal)))
            student = net.directions(net.student(net.normalised(seen.anomalous)))
        loss = made.losses("student", seen)["cosine"]
        assert loss.item() == pytest.approx(cosine_loss(expected, student).item(), rel=1e-4)


def test_the_teacher_is_that_of_the_file(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    weights = torch.load(tmp_path / "teacher.pth")
    for name, value in made.module.teacher.state_dict().items():
        assert torch.equal(value, weights[name]), name


def figures(**scores: float) -> dict[str, dict[str, float]]:
    return {name.removeprefix("k"): {"selection_score": score} for name, score in scores.items()}


def test_the_segmentation_wins_by_any_lead_on_parts_never_trained_on() -> None:
    assert best(figures(segmentation=0.9651, distance=0.953, combined=0.965)) == "segmentation"


def test_the_usual_pixel_count_stays_unless_another_is_clearly_better() -> None:
    assert best_top_k(25, figures(k6=0.904, k25=0.900, k100=0.88)) == 25
    assert best_top_k(25, figures(k6=0.950, k25=0.900, k100=0.88)) == 6


def held_back() -> Batch:
    tiles = np.stack([striped_part(seed, (32, 32)) for seed in range(6)])
    return selection_batch(tiles, np.arange(6), ProceduralTextures((32, 32)), seed=0, grey=False)


def test_branch_and_pixel_count_are_chosen_and_kept_with_the_network(tmp_path: Path) -> None:
    trainer = TRAINING.trainer(
        parse_settings(TRAINING, SMALL), (32, 32), write_teacher(tmp_path / "teacher.pth")
    )
    assert isinstance(trainer, DeSTSegTrainer)
    choice = trainer.choose(held_back())
    usual = trainer.module.top_k
    assert choice.report["top_k"] in {max(1, usual // 4), usual, 4 * usual}
    assert choice.config.model_dump()["top_k"] == choice.report["top_k"]
    by_kind = choice.report["measured"][choice.report["branch"]]["by_kind"]
    assert list(by_kind) == list(KINDS)
    assert choice.report["measured"][choice.report["branch"]]["image_auroc"] == pytest.approx(
        np.mean(list(by_kind.values()))
    )


def test_the_papers_preset_uses_its_own_branch_score_and_all_images(tmp_path: Path) -> None:
    settings = parse_settings(TRAINING, {"network.width": 0.125}, "paper")
    trainer = TRAINING.trainer(settings, (32, 32), write_teacher(tmp_path / "teacher.pth"))
    assert isinstance(trainer, DeSTSegTrainer)
    choice = trainer.choose(held_back())
    assert choice.report["branch"] == "segmentation" and "top_k" not in choice.report
    assert choice.config.model_dump()["top_k"] == trainer.module.top_k
    assert settings.set_aside.threshold == settings.set_aside.selection == 0
