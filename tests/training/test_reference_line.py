"""Every training report compares the net with untrained detectors."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from edge_ad.cli.train_format import format_reference
from edge_ad.methods.layers.resnet import ResNet18
from edge_ad.methods.learning.batch import Batch
from edge_ad.training.data import BatchSampler
from edge_ad.training.reference_line import reference_line
from tests.torch_setup import NARROW

SIZE = (64, 64)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(ResNet18(NARROW).state_dict(), tmp_path / "resnet18.pth")
    return tmp_path / "resnet18.pth"


def _sampler(count: int = 12) -> BatchSampler:
    tiles = np.random.default_rng(0).integers(90, 110, (count, *SIZE, 3)).astype(np.uint8)
    stub = SimpleNamespace(tiles=tiles, indices=np.arange(count), seed=3)
    return cast(BatchSampler, stub)


def _held_back(count: int = 8) -> Batch:
    normal = torch.rand(count, 3, *SIZE) * 20 / 255 + 90 / 255
    anomalous, mask = normal.clone(), torch.zeros(count, 1, *SIZE)
    anomalous[:, :, 20:40, 20:40], mask[:, :, 20:40, 20:40] = 1.0, 1.0
    return Batch(normal, anomalous, mask, torch.arange(count))


def test_both_references_see_a_bright_square(teacher: Path) -> None:
    line = reference_line(_sampler(), _held_back(), SIZE, teacher)
    assert line["gaussian"]["image_auroc"] == line["patchcore"]["image_auroc"] == 1.0
    assert line["tiles"] == 12 and 0 < line["rows"] <= 500


def test_the_random_numbers_of_the_caller_are_not_used(teacher: Path) -> None:
    before = torch.get_rng_state()
    first = reference_line(_sampler(), _held_back_fixed(), SIZE, teacher)
    assert torch.equal(before, torch.get_rng_state())
    second = reference_line(_sampler(), _held_back_fixed(), SIZE, teacher)
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def _held_back_fixed() -> Batch:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _held_back()


@pytest.mark.parametrize("content", [None, {"other": torch.zeros(1)}])
def test_without_the_weights_the_reason_is_given(content: Any, tmp_path: Path) -> None:
    path = None
    if content is not None:
        path = tmp_path / "vit.pth"
        torch.save(content, path)
    line = reference_line(_sampler(), _held_back(), SIZE, path)
    assert line == {"skipped": "no weights of a light backbone: --teacher FILE"}
    assert format_reference(line) == "with nothing (no weights of a light backbone: --teacher FILE)"
