"""PatchCore's one pass: what it collects, and what the coreset keeps."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_ad.errors import UsageError
from edge_ad.methods.learning import coreset
from edge_ad.methods.learning.coreset import STARTS, greedy_coreset, project
from edge_ad.methods.learning.parse import parse_settings
from edge_ad.methods.learning.trainer import load_training
from edge_ad.methods.patchcore.training import PatchCoreTrainer
from tests.methods.tiny_settings import SIZE, tiny_config
from tests.torch_setup import NARROW
from tests.training.runs import run

pytestmark = pytest.mark.usefixtures("narrow")
DIMENSIONS = sum(NARROW[1:])


def test_the_coreset_is_the_authors_greedy_choice() -> None:
    features = torch.randn(300, 128, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    chosen = greedy_coreset(features, 25).tolist()
    torch.manual_seed(1)
    starts = torch.randperm(300)[:STARTS]
    between = torch.cdist(features.double(), features.double()).numpy()
    uncovered = between[:, starts].mean(axis=1)
    expected = []
    for _ in range(25):  # as released: the farthest one, then its distance to all
        expected.append(int(uncovered.argmax()))
        uncovered = np.minimum(uncovered, between[:, expected[-1]])
    assert chosen == expected


def test_the_coreset_covers_better_than_chance_and_repeats_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    clusters = torch.randn(30, 200, generator=generator) * 10
    sizes = torch.tensor([1] * 20 + [100] * 10)  # most clusters are rare
    features = clusters.repeat_interleave(sizes, dim=0)
    features = features + 0.1 * torch.randn(features.shape, generator=generator)
    torch.manual_seed(0)
    chosen = greedy_coreset(features, 30)
    owner = torch.arange(30).repeat_interleave(sizes)[chosen]
    assert len(set(chosen.tolist())) == 30 and len(set(owner.tolist())) == 30


def test_a_projection_keeps_the_order_of_distances() -> None:
    torch.manual_seed(0)
    features = torch.randn(200, 600)
    before, after = torch.pdist(features), torch.pdist(project(features))
    assert project(features).shape == (200, 128) and project(features[:, :100]).shape == (200, 100)
    assert float(torch.corrcoef(torch.stack([before, after]))[0, 1]) > 0.2


def test_one_pass_collects_every_patch_of_every_tile(
    parts: Path, backbone: Path, tmp_path: Path
) -> None:
    config = tiny_config("patchcore", parts, tmp_path / "x.pt", backbone, steps=None, batch=3)
    report = run(config)
    tiles = report["split"]["trained"]["images"]
    assert report["steps"] == {"collect": -(-tiles // 3)}
    patches = report["steps"]["collect"] * 3 * (SIZE[0] // 8) * (SIZE[1] // 8)
    assert report["choice"]["memory"] == {"patches": patches, "rows": patches}


def test_a_time_budget_neither_cuts_nor_repeats_the_pass(
    parts: Path, backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_config("patchcore", parts, tmp_path / "x.pt", backbone, steps=None)
    report = run(replace(config, budget_minutes=1e-6))
    assert "--budget-minutes changes nothing" in caplog.text
    assert report["steps"] == {"collect": math.ceil(report["split"]["trained"]["images"] / 2)}


def test_a_ratio_sets_the_rows(backbone: Path) -> None:
    trainer = _trainer(backbone, ratio=0.25, batch=2)
    trainer.expect(6)
    assert trainer.module.config.rows == 6 * 16 // 4


def test_patches_beyond_the_memory_limit_are_thinned_out(
    backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coreset, "CANDIDATE_BYTES", 4 * DIMENSIONS * 60)
    trainer = _trainer(backbone, batch=2)
    trainer.expect(6)
    assert trainer.module.get_buffer("candidates.patches").shape == (60, DIMENSIONS)


def test_missing_weights_are_asked_for() -> None:
    training = load_training("patchcore")
    with pytest.raises(UsageError, match=r"PatchCore needs the weights of its backbone resnet18"):
        training.trainer(parse_settings(training, {}), SIZE, None)


def _trainer(backbone: Path, **given: object) -> PatchCoreTrainer:
    training = load_training("patchcore")
    trainer = training.trainer(parse_settings(training, given, "edge"), SIZE, backbone)
    assert isinstance(trainer, PatchCoreTrainer)
    return trainer


def test_a_weighted_score_has_two_rows_to_compare() -> None:
    with pytest.raises(UsageError, match="one row scores 0 always"):
        settings = {"network.score": "weighted", "network.rows": 1}
        parse_settings(load_training("patchcore"), settings)
