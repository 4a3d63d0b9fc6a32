"""DRAEM's networks: sizes, shapes and what they export to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.methods.draem.network import DRAEM, METHOD, Discriminative, DRAEMConfig, Reconstructive
from edge_ad.methods.layers.blocks import mean_filter
from tests.methods.conftest import Exported
from tests.methods.network_checks import (
    SIZE,
    check_contract,
    gflops,
    millions,
    shaken,
)

SMALL = DRAEMConfig(rec_base=8, seg_base=8, mean_filter_px=9)


@pytest.mark.parametrize(
    ("net", "channels", "parameters", "cost"),
    [
        (lambda: Reconstructive(128, align_corners=True), 3, 69.049, 319.8),
        (lambda: Reconstructive(64, align_corners=True), 3, 17.27, 80.2),
        (lambda: Reconstructive(32, align_corners=True), 3, 4.32, 20.2),
        (lambda: Discriminative(64, align_corners=True), 6, 28.374, 76.1),
        (lambda: Discriminative(32, align_corners=True), 6, 7.10, 19.2),
    ],
)
def test_cost_is_the_papers(net: object, channels: int, parameters: float, cost: float) -> None:
    with torch.device("meta"):
        built = net()  # type: ignore[operator]
    assert millions(built) == pytest.approx(parameters, abs=0.006)
    with torch.device("meta"):
        assert gflops(built, channels=channels) == pytest.approx(cost, abs=0.06)


def test_both_levels_of_the_networks_have_the_tables_shapes() -> None:
    net = DRAEM(SMALL, SIZE)
    repair, logits = net.logits(torch.rand(2, 3, *SIZE))
    assert repair.shape == (2, 3, *SIZE)
    assert logits.shape == (2, 2, *SIZE)


def test_the_contract_holds() -> None:
    check_contract(shaken(DRAEM(SMALL, SIZE)), METHOD.score(SMALL, SIZE))


@pytest.mark.slow
def test_the_exported_graph_has_no_softmax(exported: Callable[[str], Exported]) -> None:
    assert "Softmax" not in exported("draem").operators


def test_the_map_is_the_softmax_of_the_logits() -> None:
    net = shaken(DRAEM(SMALL, SIZE))
    rgb = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        logits = net.logits(rgb.flip(1))[1]  # type: ignore[operator]
        torch.testing.assert_close(net(rgb)[0], torch.softmax(logits, dim=1)[:, 1])


def test_two_one_dimensional_means_are_the_square_one() -> None:
    x = torch.rand(2, 1, 40, 50)
    square = F.avg_pool2d(x, 21, stride=1, padding=10)
    torch.testing.assert_close(mean_filter(x, 21), square)


def test_initial_weights_are_narrow() -> None:
    torch.manual_seed(0)
    net = DRAEM(DRAEMConfig(rec_base=32, seg_base=8), SIZE)
    conv, norm = net.reconstructive.encoder[4][0], net.reconstructive.encoder[4][1]  # type: ignore[index]
    assert conv.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.01)
    assert not norm.bias.any()


def test_a_size_that_does_not_halve_five_times_is_refused() -> None:
    with pytest.raises(UsageError, match=r"multiples of 32, got 100 x 96.*nearest.*96 x 96"):
        DRAEM(SMALL, (100, 96))


def test_an_even_mean_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        DRAEMConfig(mean_filter_px=20)
