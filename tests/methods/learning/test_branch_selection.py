"""Selection of a branch by its figures on held-back tiles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_ad.methods.learning.batch import Batch
from edge_ad.methods.learning.branch_selection import PIXEL_SHARE, best, measure


def held_back(anomalous: int) -> Batch:
    """Ten dark tiles; the first `anomalous` of them have a bright square."""
    normal = torch.rand(10, 3, 16, 16) * 0.2
    mask = torch.zeros(10, 1, 16, 16)
    mask[:anomalous, :, 4:8, 4:8] = 1
    return Batch(normal, torch.where(mask > 0, 1.0, normal), mask, torch.arange(10))


def branches(rgb: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """One map that sees bright pixels, its opposite, and one that knows nothing."""
    seeing = rgb[:, 0]
    maps = {"seeing": seeing, "blind": -seeing, "constant": torch.zeros_like(seeing)}
    return {name: (values, values.amax(dim=(1, 2))) for name, values in maps.items()}


def test_the_branch_that_shows_the_anomaly_has_the_highest_score() -> None:
    torch.manual_seed(0)
    measured = measure(held_back(10), branches)
    assert best(measured) == "seeing"
    assert measured["seeing"] == pytest.approx(
        {"image_auroc": 1, "pixel_ap": 1, "selection_score": 1 + PIXEL_SHARE}
    )
    assert measured["constant"]["image_auroc"] == pytest.approx(0.5)
    assert measured["constant"]["pixel_ap"] == pytest.approx(16 / 256 / 2)
    assert measured["blind"]["selection_score"] < measured["constant"]["selection_score"] < 0.6


def test_tiles_with_an_empty_mask_do_not_count_as_anomalous() -> None:
    torch.manual_seed(0)
    assert measure(held_back(4), branches)["seeing"]["image_auroc"] == 1


def test_without_anomalies_all_branches_are_equal() -> None:
    measured = measure(held_back(0), branches)
    assert {figures["selection_score"] for figures in measured.values()} == {0.5 + PIXEL_SHARE / 2}


def test_every_kind_of_anomaly_counts_alike_however_many_samples_it_has() -> None:
    torch.manual_seed(0)
    batch = held_back(10)
    hidden = torch.where(torch.arange(10) >= 8, 1, 0)  # two of ten show nothing
    anomalous = torch.where(hidden[:, None, None, None] > 0, batch.normal, batch.anomalous)
    measured = measure(batch._replace(anomalous=anomalous, kind=hidden), branches)["seeing"]
    assert measured["by_kind"]["texture"] == 1
    assert measured["by_kind"]["structural"] < 0.95
    assert measured["image_auroc"] == pytest.approx(sum(measured["by_kind"].values()) / 2)


def test_a_tile_that_several_anomalies_were_added_to_is_shown_to_the_net_once() -> None:
    torch.manual_seed(0)
    batch = held_back(10)
    tile = torch.tensor([7, 7, 7, 2, 2, 2, 2, 9, 9, 9])
    of_tile = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
    repeated = batch._replace(tile=tile, normal=batch.normal[of_tile])
    shown: list[int] = []

    def counting(rgb: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        shown.append(len(rgb))
        return branches(rgb)

    figures = measure(repeated, counting)
    assert shown == [3, 10]
    assert figures == measure(repeated._replace(tile=torch.arange(10)), branches)
