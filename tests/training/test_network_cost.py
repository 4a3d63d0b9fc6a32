"""What is known of a network before it is trained: its answer and its cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edge_ad.errors import IncompatibleError
from edge_ad.training.network_cost import check_answer, cost_of

SIZE = (16, 24)


class Answers(nn.Module):
    """Gives the map and score of a convolution, changed as a test asks."""

    def __init__(self, change: str = "") -> None:
        super().__init__()
        self.conv, self.change = nn.Conv2d(3, 1, 3, padding=1), change

    def forward(self, rgb: Tensor) -> Tensor | tuple[Tensor, ...]:
        grid = self.conv(rgb)
        anomaly_map, score = grid[:, 0], grid.flatten(1).amax(dim=1)
        answers: dict[str, Tensor | tuple[Tensor, ...]] = {
            "channel": (grid, score),
            "smaller": (anomaly_map[:, ::2, ::2], score),
            "one score": (anomaly_map, score.max()),
            "map alone": anomaly_map,
        }
        return answers.get(self.change, (anomaly_map, score))


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("channel", r"a tensor of \(2, 1, 16, 24\) and a tensor of \(2,\)"),
        ("smaller", r"a tensor of \(2, 8, 12\)"),
        ("one score", r"and a tensor of \(\); expected"),
        ("map alone", r"returns a tensor of \(2, 16, 24\); expected a map of \(2, 16, 24\)"),
    ],
)
def test_a_network_with_another_answer_is_refused(change: str, shown: str) -> None:
    with pytest.raises(IncompatibleError, match=f"method mine: .*{shown}"):
        check_answer(Answers(change), "mine", SIZE)


@pytest.mark.parametrize("training", [True, False])
def test_a_network_that_answers_is_left_in_its_mode(*, training: bool) -> None:
    net = Answers().train(training)
    check_answer(net, "mine", SIZE)
    cost = cost_of(net, SIZE)
    assert net.training == net.conv.training == training
    assert (cost.parameters, cost.flops) == (28, 2 * 27 * 16 * 24)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.isfinite(torch.tensor(cost.ms))
