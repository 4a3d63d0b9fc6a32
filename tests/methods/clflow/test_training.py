"""CL-Flow's (reconstructed) terms: boxes, pull, push, and what the warm-up leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edge_ad.methods.clflow.anomaly_boxes import boxes_of, inside
from edge_ad.methods.clflow.contrastive_losses import (
    box_mean,
    pull_loss,
    push_loss,
    separation_loss,
)
from edge_ad.methods.clflow.flow import Flow
from edge_ad.methods.clflow.network import CLFlowConfig
from edge_ad.methods.clflow.training import CLFlowSettings, CLFlowTrainer
from edge_ad.methods.layers.resnet import ResNet18
from edge_ad.methods.learning.batch import Batch

SMALL = CLFlowConfig(backbone="resnet18", flow_steps=2, hidden_ratio=0.1)


@pytest.fixture
def trainer(tmp_path: Path) -> CLFlowTrainer:
    torch.manual_seed(0)
    torch.save(ResNet18((64, 128, 256)).state_dict(), tmp_path / "resnet18.pth")
    settings = CLFlowSettings(network=SMALL)
    return CLFlowTrainer(settings, (64, 64), tmp_path / "resnet18.pth")


def _batch(*, empty: bool = False) -> Batch:
    normal = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(3, 1, 64, 64)
    if not empty:
        mask[:2, :, 10:30, 20:44] = 1
    return Batch(normal, torch.where(mask > 0, 1 - normal, normal), mask, torch.arange(3))


@pytest.mark.parametrize(
    ("drawn", "box"),
    [
        ((10, 30, 20, 44), (20, 10, 44, 30)),  # rows 10-30, columns 20-44 as they are
        ((5, 7, 5, 7), (0, 0, 16, 16)),  # grown to 16 px and moved inside
        ((0, 64, 0, 64), (16, 16, 48, 48)),  # cut to half a side
    ],
)
def test_boxes_enclose_the_anomaly_within_their_limits(
    drawn: tuple[int, int, int, int], box: tuple[int, int, int, int]
) -> None:
    mask = torch.zeros(1, 1, 64, 64)
    top, bottom, left, right = drawn
    mask[:, :, top:bottom, left:right] = 1
    boxes, real = boxes_of(mask, 16, 0.5)
    assert tuple(boxes[0].tolist()) == box and real.tolist() == [True]


def test_the_largest_component_counts_and_empty_masks_are_marked() -> None:
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, :, 2:4, 2:4] = 1
    mask[0, :, 40:60, 40:60] = 1
    boxes, real = boxes_of(mask, 4, 1.0)
    assert boxes[0].tolist() == [40, 40, 60, 60] and real.tolist() == [True, False]


def test_a_box_covers_the_cells_it_touches() -> None:
    cells = inside(torch.tensor([[8, 16, 17, 32]]), 8, 4, (64, 64))[0, 0]
    rows, columns = torch.where(cells > 0)
    assert set(rows.tolist()) == {2, 3} and set(columns.tolist()) == {0, 1}


def test_pull_is_zero_for_equal_and_one_for_perpendicular_features() -> None:
    same = torch.ones(3, 4, 2, 2)
    assert pull_loss(same).item() == pytest.approx(0, abs=1e-6)
    across = torch.eye(4).view(4, 4, 1, 1)
    assert pull_loss(across).item() == pytest.approx(1, abs=1e-6)
    assert pull_loss(same[:1]).item() == 0


def test_push_counts_what_exceeds_the_margin() -> None:
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    b = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert push_loss(a, b, 0.0).item() == pytest.approx(0.5)
    assert push_loss(a, b, 0.5).item() == pytest.approx(0.25)


def test_separation_counts_energy_beyond_its_limits() -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16, :16] = 1  # a quarter of the image: 4 of the level's 16 cells
    normal, anomalous = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    assert separation_loss(normal, anomalous, mask, near=0.6, far=1.5).item() == pytest.approx(1.5)
    anomalous[..., :2, :2] = 2  # an energy of 2 where it is anomalous
    assert separation_loss(normal, anomalous, mask, near=0.6, far=1.5).item() == 0
    normal[..., 3, 3] = 2
    loss = separation_loss(normal, anomalous, mask, near=0.6, far=1.5).item()
    assert loss == pytest.approx(2 - 0.6)  # the one cell beyond, not a sixteenth of it
    assert separation_loss(normal * 0, anomalous, mask * 0, near=0.6, far=1.5).item() == 0


def test_separation_is_added_when_it_is_weighed(trainer: CLFlowTrainer) -> None:
    trainer.settings = trainer.settings.model_copy(update={"separate": 2.0})
    assert "separate" in trainer.losses("contrast", _batch())


def test_each_weight_is_that_of_its_loss(trainer: CLFlowTrainer) -> None:
    weights = {"pull": 2.0, "push": 3.0, "classify": 4.0, "separate": 5.0}
    trainer.settings = trainer.settings.model_copy(update={"separate": 1.0})
    before = trainer.losses("contrast", _batch())
    trainer.settings = trainer.settings.model_copy(update=weights)
    after = trainer.losses("contrast", _batch())
    for name, weight in weights.items():
        assert after[name].item() == pytest.approx(weight * before[name].item(), rel=1e-4), name


@pytest.mark.parametrize("exposure", [0.0, 0.5])
def test_features_are_kept_of_tiles_that_do_not_change(
    trainer: CLFlowTrainer, exposure: float
) -> None:
    synthesis = trainer.settings.synthesis.model_copy(update={"exposure": exposure})
    trainer.settings = trainer.settings.model_copy(update={"synthesis": synthesis})
    first = trainer.losses("likelihood", _batch())["likelihood"].item()
    dark = _batch()._replace(normal=_batch().normal / 2)  # the same tiles by number
    assert (trainer.losses("likelihood", dark)["likelihood"].item() == first) is (exposure == 0)


def test_a_box_far_from_normal_does_not_dominate_the_classifier(trainer: CLFlowTrainer) -> None:
    normal, far = torch.ones(3, 448), torch.full((3, 448), 1e4)
    assert trainer.classification_loss(normal, far).item() < 30  # 90, were the head linear in it


def test_a_box_mean_ignores_what_is_outside() -> None:
    z = torch.arange(16.0).view(1, 1, 4, 4)
    weight = torch.zeros(1, 1, 4, 4)
    weight[..., 1, 1:3] = 1
    assert box_mean(z, weight).item() == pytest.approx(5.5)


def test_the_warm_up_learns_the_likelihood_alone(trainer: CLFlowTrainer) -> None:
    assert set(trainer.losses("likelihood", _batch())) == {"likelihood"}
    everything = {"likelihood", "pull", "push", "classify"}
    assert set(trainer.losses("contrast", _batch())) == everything
    assert set(trainer.losses("contrast", _batch(empty=True))) == {"likelihood", "pull"}


def test_the_likelihood_is_that_of_the_flow_per_element(trainer: CLFlowTrainer) -> None:
    batch = _batch()
    with torch.no_grad():
        loss = trainer.losses("likelihood", batch)["likelihood"].item()
        levels = []
        for flow, level in zip(
            trainer.module.flows, trainer.module.features(batch.normal), strict=True
        ):
            z, change = flow(level)
            levels.append((0.5 * z.square().flatten(1).mean(1) - change / z[0].numel()).mean())
    assert loss == pytest.approx(torch.stack(levels).mean().item(), abs=1e-5)


def test_only_flows_and_head_are_trained(trainer: CLFlowTrainer) -> None:
    optimizer = trainer.begin("contrast")
    before = {k: v.clone() for k, v in trainer.module.state_dict().items()}
    torch.autograd.backward(torch.stack(list(trainer.losses("contrast", _batch()).values())).sum())
    optimizer.step()
    changed = {
        k.split(".")[0] for k, v in trainer.module.state_dict().items() if not v.equal(before[k])
    }
    assert changed == {"flows", "head"}


def test_standardised_levels_have_mean_0_and_spread_1_and_their_norms_stay(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    torch.save(ResNet18((64, 128, 256)).state_dict(), tmp_path / "resnet18.pth")
    settings = CLFlowSettings(network=SMALL, standardise=True)
    trainer = CLFlowTrainer(settings, (64, 64), tmp_path / "resnet18.pth")
    trainer.losses("likelihood", _batch())
    norms = [flow.norm for flow in trainer.module.flows if isinstance(flow, Flow)]
    levels = trainer.module.features(_batch().normal)
    for norm, level in zip(norms, levels, strict=True):
        outputs = norm(level)
        assert outputs.mean(dim=(0, 2, 3)).abs().max().item() < 1e-4
        assert outputs.std(dim=(0, 2, 3)).max().item() == pytest.approx(1, abs=1e-3)
    before = [norm.weight.clone() for norm in norms]
    optimizer = trainer.begin("likelihood")
    losses = trainer.losses("likelihood", _batch()._replace(normal=torch.zeros(3, 3, 64, 64)))
    torch.autograd.backward(losses["likelihood"])
    optimizer.step()
    assert all(torch.equal(norm.weight, w) for norm, w in zip(norms, before, strict=True))


def test_both_phases_share_one_optimiser(trainer: CLFlowTrainer) -> None:
    assert trainer.begin("likelihood") is trainer.begin("contrast")
