"""The tiles that a training chooses by, and the score of a network on them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_ad.methods.learning.batch import Batch
from edge_ad.synthesis.kinds import KINDS
from edge_ad.synthesis.textures import ProceduralTextures
from edge_ad.training import selection
from edge_ad.training.selection import selection_batch, selection_score
from tests.part_images import striped_part

HW = (32, 32)


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "SAMPLES", (21, 35))


def held_out(tiles: int, *, seed: int = 0) -> Batch:
    """Return the batch of so many tiles with odd numbers."""
    images = np.stack([striped_part(number, HW) for number in range(2 * tiles)])
    odd = np.arange(1, 2 * tiles, 2)
    return selection_batch(images, odd, ProceduralTextures(HW), seed=seed, grey=False)


@pytest.mark.parametrize(("tiles", "samples"), [(4, 21), (28, 28), (100, 35)])
def test_few_tiles_serve_several_times_and_many_are_thinned_out(tiles: int, samples: int) -> None:
    batch = held_out(tiles)
    used = Counter(batch.tile.tolist())
    assert len(batch.mask) == samples and all(number % 2 for number in used)
    assert len(used) == min(tiles, samples) and max(used.values()) - min(used.values()) <= 1
    steps = np.diff(sorted(used))
    assert min(used) == 1 and max(used) >= 2 * tiles - 6 and steps.max() <= steps.min() + 2


def test_every_kind_comes_as_often_and_every_tile_meets_all() -> None:
    batch = held_out(3)
    assert batch.kind is not None and len(KINDS) == 7
    assert set(Counter(batch.kind.tolist()).values()) == {3}
    for tile in set(batch.tile.tolist()):
        assert set(batch.kind[batch.tile == tile].tolist()) == set(range(7))
    assert (batch.normal != batch.anomalous).flatten(1).any(1).all()


def test_the_batch_depends_on_the_seed_alone() -> None:
    first, again, other = held_out(3), held_out(3), held_out(3, seed=1)
    assert torch.equal(first.anomalous, again.anomalous)
    assert torch.equal(first.normal, other.normal)
    assert not torch.equal(first.mask, other.mask)


class Difference(nn.Module):
    """Maps how far pixels are from the tile that it knows; its dropout would hide all of that."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.norm, self.dropout, self.sign = nn.BatchNorm2d(3), nn.Dropout(1.0), sign

    def forward(self, rgb: Tensor) -> tuple[Tensor, Tensor, str]:
        maps = self.sign * self.dropout(self.norm(rgb) - 0.5).abs().amax(1)
        return maps, maps.amax((1, 2)), "more"


def test_a_score_is_measured_in_eval_mode_which_is_not_kept() -> None:
    batch = held_out(1)._replace(normal=torch.full((21, 3, *HW), 0.5))
    scores = []
    for sign in (1.0, -1.0):
        net = Difference(sign).train()
        net.norm.eval()
        scores.append(selection_score(net, batch, torch.device("cpu")))
        assert net.training and net.dropout.training and not net.norm.training
    assert scores[0] > 1 > 0.2 > scores[1]
