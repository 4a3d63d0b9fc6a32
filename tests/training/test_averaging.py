"""The average of the weights that ends each phase."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edge_ad.methods.weights import load_detector
from edge_ad.training.averaging import WeightAverage
from edge_ad.training.loop import Interrupted
from tests.training.conftest import Trained
from tests.training.runs import run
from tests.training.train_configs import tiny_training


def test_the_average_is_the_weighted_sum_of_the_steps() -> None:
    net = nn.Linear(1, 1, bias=False)
    average = WeightAverage(net, 0.9)
    expected = net.weight.item()
    for step in range(200):
        with torch.no_grad():
            net.weight.fill_(step)
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    average.apply()
    assert net.weight.item() == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(199 - 9, abs=0.1)  # lags by decay / (1 - decay) steps


def test_frozen_weights_stay_and_counters_are_those_of_the_last_step() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    net[0].requires_grad_(requires_grad=False)
    average = WeightAverage(net, 0.5)
    for step in range(3):
        net(torch.randn(4, 1, 4, 4))
        average.update(step)
    frozen = net[0].weight.clone()  # type: ignore[operator]
    average.apply()
    assert torch.equal(net[0].weight, frozen)  # type: ignore[arg-type]
    assert int(net[1].num_batches_tracked) == 3  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_averaged_training_resumes_to_the_same_weights(folder: Path, trained: Trained) -> None:
    averaged = {"settings": {"average": 0.9}}
    run(tiny_training(folder, "whole.pt", **averaged))
    for steps_done in (1, 3):
        with pytest.raises(Interrupted):
            resume = steps_done > 1
            run(tiny_training(folder, "broken.pt", **averaged, resume=resume), steps_done)
    run(tiny_training(folder, "broken.pt", **averaged, resume=True))
    last, whole, broken = (
        load_detector(path).module.state_dict()
        for path in (trained.weights, folder / "whole.pt", folder / "broken.pt")
    )
    assert all(torch.equal(whole[key], broken[key]) for key in whole)
    assert any(not torch.equal(whole[key], last[key]) for key in whole)
