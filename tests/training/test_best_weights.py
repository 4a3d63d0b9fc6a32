"""The best weights of the last phase, measured on parts that are not trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edge_ad.methods.weights import load_detector
from edge_ad.training.averaging import WeightAverage
from edge_ad.training.best_weights import BestWeights
from edge_ad.training.loop import Interrupted
from tests.training.conftest import Trained
from tests.training.runs import run
from tests.training.train_configs import tiny_training


@torch.no_grad()
def train(scores: dict[int, float], average: float = 0.0) -> tuple[float, list[float], list[float]]:
    """Set a weight to 1, 2, ... 20; return the final weight, the checks, and weights checked."""
    net = nn.Linear(1, 1, bias=False)
    checked: list[float] = []

    def score() -> float:
        checked.append(net.weight.item())
        return scores.get(len(checked), 0.0)

    best = BestWeights(net, score, checks=4)
    mean = WeightAverage(net, average) if average else None
    for step in range(20):
        net.weight.fill_(step + 1)
        if mean is not None:
            mean.update(step)
        best.after_step((step + 1) / 20, mean)
        assert net.weight.item() == step + 1, "a check leaves the weights alone"
    best.apply()
    return net.weight.item(), best.state["checks"], checked


def test_the_weights_of_the_best_check_are_the_result() -> None:
    weight, scores, checked = train({2: 0.9, 4: 0.8})
    assert checked == [13, 15, 18, 20]
    assert scores == [0, 0.9, 0, 0.8] and weight == 15


def test_weights_that_were_never_checked_stay() -> None:
    net = nn.Linear(1, 1, bias=False)
    best, before = BestWeights(net, lambda: 1.0, checks=2), net.weight.item()
    best.after_step(0.7, None)  # the first check is due at 0.75
    best.apply()
    assert best.state["checks"] == [] and net.weight.item() == before


def test_averaged_weights_are_checked_and_kept() -> None:
    weight, _, checked = train({3: 0.9}, average=0.5)
    assert weight == checked[2] and 16 < weight < 18


@pytest.mark.slow
def test_a_checked_training_reports_its_checks_and_resumes_to_the_same_weights(
    folder: Path, trained: Trained
) -> None:
    config = {"settings": {"checks": 2, "steps": 8, "lr_student": 0.05, "average": 0.5}}
    report = run(tiny_training(folder, "whole.pt", **config))
    assert len(report["checks"]) == 2
    assert trained.report["checks"] == []
    with pytest.raises(Interrupted):
        run(tiny_training(folder, "broken.pt", **config), stop_after=7)
    assert (
        run(tiny_training(folder, "broken.pt", **config, resume=True))["checks"] == report["checks"]
    )
    one, other = (load_detector(folder / n).module.state_dict() for n in ("whole.pt", "broken.pt"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_what_a_prior_collects_is_neither_averaged_nor_rolled_back(folder: Path) -> None:
    prior = {"network.prior": "gaussian", "steps": 8}
    run(tiny_training(folder, "plain.pt", settings=prior))
    both = {**prior, "average": 0.9, "checks": 2}
    report = run(tiny_training(folder, "both.pt", settings=both))
    assert len(report["checks"]) == 2
    plain, checked = (
        {key: value for key, value in load_detector(path).module.state_dict().items()
         if key.startswith("prior.nearness.")}
        for path in (folder / "plain.pt", folder / "both.pt")
    )  # fmt: skip
    assert plain and all(torch.equal(plain[key], checked[key]) for key in plain)
